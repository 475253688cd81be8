"""Training networks: binarized ones from labelled images or another classifier's answers, painters of styles,
and classifiers hardened against paint.

Each trained network is a file with a card beside it (`artattack.models.card`, `artattack.attacks.painter_card`).
The path of a binarized network works in place of a model name, that of a painter as `painter` of the attack.
"""
