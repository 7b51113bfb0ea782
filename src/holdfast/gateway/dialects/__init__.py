"""The grammar of each API's stream: what opens and closes a block, what is a ping, an error, the end."""
