"""What the tables of a diagnosis are called: in a report above each, and wherever a sentence refers to one."""

from __future__ import annotations

from collections.abc import Mapping

TITLES: Mapping[str, str] = {
    "by code": "What failed, by code",
    "dead turns": "Turns that the client gave up",
    "by version": "By version of the client",
    "by model": "By model",
    "by project": "By project",
    "by agent kind": "Main conversation and subagents",
    "by context": "By the true size of the prompt",
    "by context tier": "By context tier, as far as the prompt's size tells it",
    "by session size": "By the size of the session: answers that it had had by then",
    "retries": "The client's retries, step by step",
    "ages": "How old the failed tries were, their waits taken off",
    "between marks": "Before, between and after your marks (holdfast mark)",
    "bursts": "Bursts: errors within a minute of each other (a failure is in each with a try of it, its end in the last)",
    "per day": "Per day (local)",
    "per hour": "Per hour of the day (local)",
    "per weekday": "Per weekday (local)",
    "overlap": "Hours without network: what failed in them, and at the very time",
    "turn times": "How long turns took",
    "lost": "What it cost",
    "tool errors": "Errors that tools reported, by tool: theirs, and not the API's",
    "tool error kinds": "Errors that tools reported, by kind: theirs, and not the API's",
    "flights": "Turns that the gateway saw break, by ending",
    "reset requests": "Requests that were reset, to quote to the provider",
    "seen by others": "Ends that added files saw at the time of a failure",
    "stalls": "Stalls and broken streams that left no error record",
    "told by telemetry": "Failures that no transcript tells, by the client's unsent telemetry",
    "client limits": "Requests whose time was up, by the client's own word",
    "client logs": "What the client's versions log, and what they hide",
    "link now": "How this machine's link is now",
    "commands": "What was not looked at, and the line to type",
}


def the_table(name: str) -> str:
    """`the table “By model”`: a reference that a reader finds by its words."""
    return f"the table “{TITLES[name]}”"
