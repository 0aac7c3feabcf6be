"""Networks: recurrent cores, heads and what joins them (imports torch)."""
