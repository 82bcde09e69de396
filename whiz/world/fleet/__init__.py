"""Other machines, over ssh: the room that knows fabric. And the files that name them."""
