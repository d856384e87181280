from __future__ import annotations

from lsst.daf.butler import DataCoordinate, DatasetRef, DatasetType, DimensionUniverse

from prompt_processing.activator.services.calibration_cache import CalibrationCache

UNIVERSE = DimensionUniverse()


def ref(name: str, **data_id: int | str) -> DatasetRef:
    dataset_type = DatasetType(name, tuple(data_id), "StructuredDataDict", universe=UNIVERSE)
    return DatasetRef(dataset_type, DataCoordinate.standardize(data_id, universe=UNIVERSE), run="run")


def bias(detector: int) -> DatasetRef:
    return ref("bias", instrument="LSSTCam", detector=detector)


def test_what_was_used_longest_ago_goes_first() -> None:
    cache = CalibrationCache(2)
    first, second, third = bias(1), bias(2), bias(3)
    for used in (first, second, first, third):
        cache.use([used])
    assert cache.evict() == [second]
    assert first in cache
    assert third in cache
    assert cache.absent([first, second]) == [second]


def test_types_do_not_displace_each_other() -> None:
    cache = CalibrationCache(1)
    a_bias, a_shard = bias(1), ref("reference_stars", htm7=200_000)
    cache.use([a_bias])
    cache.use([a_shard])
    assert cache.evict() == []
    assert len(cache) == 2


def test_all_shards_of_a_visit_are_kept_together() -> None:
    cache = CalibrationCache(1)
    old = [ref("reference_stars", htm7=pixel) for pixel in (200_000, 200_001)]
    new = [old[1], ref("reference_stars", htm7=200_002)]
    cache.use(old)
    cache.use(new)
    assert cache.evict() == [old[0]]
    assert cache.absent(new) == []


def test_cache_of_no_size_keeps_nothing() -> None:
    cache = CalibrationCache(0)
    used = bias(1)
    cache.use([used])
    assert cache.evict() == [used]
    assert len(cache) == 0
