"""`varde demo`: the whole product on loopback, against simulators of everything outside it.

    four simulated devices ─→ the daemon itself ─DC-09, encrypted→ the built-in receiver
    a simulated installer  ─→        │          ─clients.xml────→ a folder, watched by a simulated Patriot

Nothing here is a short cut: the daemon runs as `varde run` does, from a configuration file that is left to look at.
"""
