"""What every agent process shares."""
