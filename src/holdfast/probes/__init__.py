"""Questions to the network, one per file, asked politely: no credential, few connections, few bytes, a known end."""
