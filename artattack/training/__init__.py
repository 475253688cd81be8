"""Training binarized networks: from labelled images, beside a float twin, or from another classifier's answers.

What is trained is a Keras file with a card beside it (`artattack.models.card`), usable by its path wherever a model is.
"""
