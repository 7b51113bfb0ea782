"""The gateway carries each turn and does not give up easily."""
