"""The vocabulary of an OpenFlow switch: matches, actions, flows, groups. Nothing here talks to a switch, reads a clock or logs."""
