"""Predictions -> scores, intervals, calibration, Findings.

Takes: tables of predictions (label, predicted, probability, logits), arrays of right and wrong; nothing of a run.
Gives: accuracies and differences with their 95% intervals, per label too; probabilities made honest; the `Finding`
    that every analysis returns: a question and its answer, or why there is none.
May use: no other room.
"""
