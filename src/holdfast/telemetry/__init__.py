"""What leaves for other systems of observation: metrics and traces, made from the journal, never from bodies."""
