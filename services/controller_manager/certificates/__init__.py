"""Requests for certificates: who gets one without a human's word, what is signed, and how long requests are kept."""
