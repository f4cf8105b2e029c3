"""mmdet's RPN head, whose proposals of different levels meet in no suppression on a CPU."""
import copy

from mmdet.models.dense_heads import RPNHead as MMDetRPNHead


class RPNHead(MMDetRPNHead):
    """``mmdet.RPNHead``: same arguments, same proposals.

    Only boxes of the same level suppress one another. On a CPU, where the time of NMS grows with
    the square of the number of boxes, each level is a call of its own. ``nms.split_thr`` of the
    config, the number of boxes from which mmcv does so, overrides.
    """

    def _bbox_post_process(self, results, cfg, **kwargs):
        if cfg.nms and results.scores.device.type == 'cpu':
            cfg = copy.deepcopy(cfg)
            cfg.nms.setdefault('split_thr', 1)
        return super()._bbox_post_process(results, cfg, **kwargs)
