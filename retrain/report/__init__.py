"""A version's card as a page for people: a card in, one self-contained HTML text out.

Nothing in here measures, judges, or reads a registry, and no module needs torch: everything that is
said stands in the card.
"""
