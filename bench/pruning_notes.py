"""What the reader of the pruning bench has to know."""

NOTES = """\
Fashion-MNIST (60,000 + 10,000 pictures of 28 x 28; 5,000 of the 60,000 are validation). Both nets
are residual networks of three stages with two blocks each: *wide* has 64/128/256 channels (88 M
multiply-accumulates, 2.8 M parameters, far more than the task needs), *small* 24/48/96 (12.4 M,
392 k). Every parent is trained for 5 passes with its own seed; three seeds; mean ± standard
deviation over them. One thread everywhere.

*The table of criteria*: the same share of every coupled group goes, in one cut, then BatchNorm is
re-estimated and the net recovers with distillation on two short passes of 6,875 pictures; that is
little on purpose, a long recovery hides what a criterion is worth. Criteria with a penalty (l1,
group-lasso, bn-scale) train sparse for the first of the two passes, on the dense net, so all have
seen as many pictures as often. *drop* is against the dense parent trained on the same pictures as
often (points of accuracy, test set). *disagreement*: share of test pictures that get another
class than from the parent.

*Blocks, then channels*: one recipe of two levels. The second block of each stage is left out,
then channels go by Taylor score (wide: to 32/64/128, 64 inside the last block; small: to
16/48/96), then three passes of recovery on all training pictures. Widths were chosen by hand from
latencies measured on random weights. *dense, trained as long* had the same three passes,
unpruned. Accuracies of this table are of the exported graphs, answered by ONNX Runtime. int8 is
static QDQ, scales from 512 training pictures.

*Latency*: ONNX Runtime and torch eager in one process, one thread, in turn; 20th percentile of
the turns. *same runtime* is against the dense parent's graph on ONNX Runtime, *dense eager*
against torch.

*Random*: differences to random choice, averaged over the rates of one parent; nets are strata,
seeds are what is drawn; Student's t, 95% for all criteria at once (Bonferroni). *useful* are the
rates at which random choice loses at most 15 points against the control; beyond, every net is
broken after so short a recovery, and what is compared is how broken. That line was drawn after
the figures were seen: so the table over all rates stands beside it, and there no criterion is
shown to beat chance.

Beside published figures (DepGraph is Torch-Pruning), none of which is the same task, net, training
budget or processor:

| published | multiply-accumulates | accuracy | latency |
| --- | --- | --- | --- |
| DepGraph (2023), ResNet-56, CIFAR-10 | 2.13x fewer | 93.53 -> 93.77 (+0.24 points) | not given |
| the same net | 2.57x fewer | 93.53 -> 93.64 (+0.11 points) | not given |
| the same, VGG-19, CIFAR-100 | 8.92x fewer | 73.50 -> 70.39 (-3.11 points) | not given |
| the same, ResNet-50, ImageNet | 3.9x fewer | not compared | 2.2x faster |
| the same, ViT-B/16, ImageNet | 3.8x fewer | 85.21 -> 80.19 (-5.02 points) | 1.3x faster |

What differs: theirs recover for a hundred epochs and more and start from parents trained to the
end, ours for minutes on one core, so gains over the parent such as +0.24 are not to be had here;
theirs is measured against the parent as it was, ours against one that was trained as long again;
their latency is a GPU's, ours a CPU's at batch 1, on a net that was too large on purpose. What
can be compared is how much of the saved arithmetic arrives as time: 2.2 of 3.9 and 1.3 of 3.8
there; here see the columns side by side."""
