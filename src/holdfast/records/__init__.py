"""What others wrote down: access logs, HAR files, proxy flows, pasted output, told beside our own flights."""
