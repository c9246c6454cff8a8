"""Dead letters that are sent to the input again."""
