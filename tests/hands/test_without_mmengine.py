import subprocess
import sys


def test_layer_0_loads_without_mmengine():
    """Whoever needs only joint names, rotations or file readers does not load the registries."""
    code = (
        'import sys\n'
        'import handpose.files.npz, handpose.files.pickles, handpose.files.pth, handpose.geometry, handpose.hands\n'
        "loaded = [name for name in ('mmengine', 'smplx', 'handpose.registry') if name in sys.modules]\n"
        "assert not loaded, f'{loaded} were imported'\n"
        'assert handpose.hands.ProceduralHand().num_vertices > 0\n'
    )
    subprocess.run([sys.executable, '-c', code], check=True)
