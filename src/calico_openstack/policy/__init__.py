"""The meaning of policy: packet to verdict, with reasons. Pure."""
