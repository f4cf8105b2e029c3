"""What loading the largest published V1 file costs in memory: at most 1.2 times its size."""
import subprocess
import sys

import pytest

SAVE = '''
import sys, torch
from convnext_dense.checkpoints.formats import FORMATS, from_official
from convnext_dense.models import ConvNeXt
name, path = sys.argv[1:]
state = {key: value for key, value in ConvNeXt('xlarge').state_dict().items()
         if not key.startswith('norm')}
state.update({'norm.weight': torch.ones(2048), 'norm.bias': torch.zeros(2048),
              'head.weight': torch.zeros(21841, 2048), 'head.bias': torch.zeros(21841)})
state = from_official(state, FORMATS[name])
if path.endswith('.safetensors'):
    from safetensors.torch import save_file
    save_file({key: value.contiguous() for key, value in state.items()}, path)
else:
    torch.save(dict(model=state), path, _use_new_zipfile_serialization='legacy' not in path)
'''

LOAD = '''
import sys
import torch
from convnext_dense import load_weights
from convnext_dense.models import ConvNeXt

def memory(field):
    with open('/proc/self/status') as file:
        return next(int(line.split()[1]) * 1024 for line in file if line.startswith(field))

model = ConvNeXt('xlarge', init_cfg={})
with open('/proc/self/clear_refs', 'w') as file:
    file.write('5')  # forget the peak so far
before = memory('VmRSS')
load_weights(model, sys.argv[1])
print(memory('VmHWM') - before)
'''


@pytest.mark.slow
@pytest.mark.skipif(not sys.platform.startswith('linux'), reason='reads the peak from /proc')
@pytest.mark.parametrize('name, file', [
    ('official', 'a.pth'), ('official', 'a.legacy.pth'), ('official', 'a.safetensors'),
    ('timm', 'a.safetensors'), ('transformers', 'a.bin'), ('fcmae', 'a.pth')])
def test_a_file_of_1_6_gb_takes_at_most_1_2_times_its_size(name, file, tmp_path):
    path = tmp_path / file
    subprocess.run([sys.executable, '-c', SAVE, name, str(path)], check=True)
    size = path.stat().st_size
    assert size > 1.57e9
    done = subprocess.run([sys.executable, '-c', LOAD, str(path)], check=True,
                          capture_output=True, text=True)
    extra = int(done.stdout.splitlines()[-1])
    print(f'{name} {file}: {extra / size:.3f} times its {size / 1e9:.2f} GB')
    path.unlink()
    assert extra <= 1.2 * size
