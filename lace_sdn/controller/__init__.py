"""The loop: what is read becomes a state, the state a program for every bridge, and each bridge gets the difference.

Level-triggered: every step looks at the present state and at what the switch holds, never at what happened. Nothing is
sent before the whole source was read, and nothing is sent when nothing changed.
"""
