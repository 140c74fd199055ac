"""The figures, as Vega-Lite specifications made with Altair.

Idea: a figure is a pure function from tables to a specification; the page embeds it, and the same one is rendered
to SVG and PNG. Colour is diverging and safe for colour-blind readers (red below zero, blue above), and no number is
shown by colour alone: cells print it, carry a sign, or show it on hover.
"""
