import gc

import pytest

from handpose.files.garbage import garbage_collection_paused


@pytest.mark.parametrize('enabled', [True, False])
def test_the_collector_is_as_it_was(enabled):
    try:
        (gc.enable if enabled else gc.disable)()
        with garbage_collection_paused():
            assert not gc.isenabled()
        assert gc.isenabled() == enabled
        with pytest.raises(KeyError), garbage_collection_paused():
            raise KeyError('stop')
        assert gc.isenabled() == enabled
    finally:
        gc.enable()
