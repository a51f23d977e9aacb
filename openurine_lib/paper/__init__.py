"""The paper itself: its numbers audited, its claims tested, and the page of a run's results."""
