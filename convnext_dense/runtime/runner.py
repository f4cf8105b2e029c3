"""mmengine's Runner, reading checkpoints safely."""
from mmengine.model import BaseTTAModel, is_model_wrapper
from mmengine.runner import Runner as MMEngineRunner

from convnext_dense.registry import RUNNERS


@RUNNERS.register_module()
class Runner(MMEngineRunner):
    """mmengine's Runner, with files read only by ``convnext_dense.checkpoints.read_checkpoint``.

    The arguments are mmengine's.
    """

    def load_checkpoint(self, filename, map_location='cpu', strict=False,
                        revise_keys=((r'^module.', ''),)):
        """Load weights of any published format into the model.

        Args:
            filename (str): path, URL or zoo name.

        Returns:
            dict: what the file holds.
        """
        checkpoint = _read(filename, map_location)
        self.call_hook('after_load_checkpoint', checkpoint=checkpoint)
        model = self.model
        while is_model_wrapper(model) or isinstance(model, BaseTTAModel):
            model = model.module
        model.load_state_dict(checkpoint['state_dict'], strict=strict)
        self._has_loaded = True
        self.logger.info(f'Load checkpoint from {filename}')
        return checkpoint


def _read(filename, map_location):
    from convnext_dense import checkpoints
    if hasattr(checkpoints, 'read_checkpoint'):
        return checkpoints.read_checkpoint(filename, map_location=map_location)
    import torch
    return torch.load(filename, map_location=map_location, weights_only=True)
