"""The properties that the world can give to a toy: DreamBench's property prompts."""

CUBE = "cube shaped"
QUALITIES = ("red", "purple", "shiny", "wet", CUBE)
