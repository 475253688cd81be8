"""Training binarized networks: from labelled images, beside a float twin, or from another classifier's answers.

Each trained network is a Keras file with a card beside it (`artattack.models.card`). Its path works in place of a model
name.
"""
