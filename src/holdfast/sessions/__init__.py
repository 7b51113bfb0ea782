"""What the client wrote down: its transcripts, read at the speed of the disk and tolerant of every kind of dirt."""
