"""The matrix of breaks: each real client, each way to break, each place in the answer, with and without the gateway.

A cell is a value (`cell`), its story is the provider's rule (`story`), what a run came to is judged by pure functions
(`verdict`), runs are made by `playing`, the page is rendered by `page`. `python -m tests.clients.matrix` plays what
is not yet in `.cache/matrix/results.jsonl`, in slices.
"""
