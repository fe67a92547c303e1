"""Reviews: questions about users and rights, answered and not stored."""
