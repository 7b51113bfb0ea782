"""What the gateway costs, in ratios: relays measured side by side on one machine. `python -m bench --help`."""
