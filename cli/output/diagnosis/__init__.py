"""Why a Pod does not run: what was found out, what of it explains that, and a page that says so."""
