"""The console's pages: made on the server, readable without scripts, alive with them.

request ─→ a page's function: reads the site, makes plain values ─→ frame.py: language, time, template ─→ HTML
static/console.js: /live says "look again" ─→ the same address once more ─→ regions that differ are exchanged
"""
