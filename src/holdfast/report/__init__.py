"""What a person reads: one incident or a whole diagnosis, as text, Markdown, HTML and JSON."""
