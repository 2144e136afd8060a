"""What the pruning cost: the candidate against its dense parent and the null control."""
