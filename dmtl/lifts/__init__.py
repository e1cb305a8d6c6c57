"""Lifts: a penalty on all models as a sum over ranks, once a variable that all of them share is brought in."""
