"""Who moves the weights: one protocol, one implementation per traffic tool."""
