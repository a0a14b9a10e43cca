"""The miniature world: toys in places, rendered, with every trait known."""
