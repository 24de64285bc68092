"""Maps are drawn coarse: the same way, and soon. The workflow's tests draw them as they are."""

from collections.abc import Iterator

import pytest

from hydra_bench.report.figures import rendered_maps


@pytest.fixture(autouse=True, scope="module")
def coarse_pictures() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(rendered_maps, "PICTURE_PX", 60)
        yield
