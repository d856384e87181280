"""Images are found by notice or in the bucket, whichever knows them."""

import pytest

from prompt_processing.domain.errors import RetriableError

FIRST, SECOND = 2025061000578, 2025061000579


@pytest.fixture
def collect(world):
    world.notices.at = []

    def collect(**changes):
        snaps = world.snaps()
        snaps.subscribe()
        images = snaps.collect(world.visit(**changes))
        snaps.unsubscribe()
        return [image.exposure for image in images]

    return collect


def test_an_image_that_is_there_already_is_not_waited_for(world, collect):
    world.images.at = [(world.NOW, world.image(FIRST))]
    assert collect() == [FIRST]
    assert world.clock.now == world.NOW


def test_a_notice_ends_the_waiting(world, collect):
    world.notices.at = [(world.NOW + 7.0, world.notice(FIRST))]
    assert collect() == [FIRST]
    assert world.clock.now - world.NOW < 8.0


def test_a_late_notice_is_found_in_the_bucket(world, collect):
    world.images.at = [(world.NOW + 10.0, world.image(FIRST))]
    assert collect() == [FIRST]


def test_the_bucket_is_left_alone_while_notices_come(world, collect):
    collect()
    assert world.images.asked == 2


def test_the_wait_is_twice_the_duration_and_the_timeout(world, collect):
    assert collect(duration=40.0) == []
    assert world.clock.now - world.NOW == pytest.approx(100.0, abs=0.5)


def test_a_duplicate_notice_is_harmless(world, collect):
    world.images.at = [(world.NOW + 2.0, world.image(FIRST))]
    world.notices.at = [
        (world.NOW + 1.0, world.notice(FIRST)),
        (world.NOW + 1.0, world.notice(FIRST)),
        (world.NOW + 3.0, world.notice(FIRST)),
        (world.NOW + 4.0, world.notice(SECOND)),
    ]
    assert collect(nimages=2) == [FIRST, SECOND]


def test_notices_of_other_images_are_passed_over(world, collect):
    other = world.notice()
    object.__setattr__(other, "keys", ("LSSTCam/somebody/else.fits",))
    world.notices.at = [(world.NOW + 1.0, other), (world.NOW + 2.0, world.notice(FIRST))]
    assert collect() == [FIRST]


def test_exposures_come_in_order(world, collect):
    world.notices.at = [(world.NOW + 1.0, world.notice(SECOND)), (world.NOW + 2.0, world.notice(FIRST))]
    assert collect(nimages=2) == [FIRST, SECOND]


def test_one_snap_of_two_is_given_at_the_end(world, collect):
    world.notices.at = [(world.NOW + 1.0, world.notice(FIRST))]
    assert collect(nimages=2) == [FIRST]
    assert world.clock.now - world.NOW == pytest.approx(30.0, abs=0.5)


def test_a_visit_of_an_unknown_number_of_snaps_is_waited_for_until_the_end(world, collect):
    world.notices.at = [(world.NOW + 1.0, world.notice(FIRST)), (world.NOW + 25.0, world.notice(SECOND))]
    assert collect(nimages=0) == [FIRST, SECOND]


def test_without_kafka_the_bucket_is_asked_every_few_seconds(world, collect):
    world.notices.up = False
    world.images.at = [(world.NOW + 10.0, world.image(FIRST))]
    assert collect() == [FIRST]
    assert world.clock.now - world.NOW < 14.0


def test_kafka_that_comes_back_is_used(world, collect):
    world.notices.up = False
    world.notices.at = [(world.NOW + 9.0, world.notice(FIRST))]
    came_back = world.clock.wait

    def wait(seconds):
        came_back(seconds)
        world.notices.up = world.clock.now > world.NOW + 5.0

    world.clock.wait = wait
    assert collect() == [FIRST]
    assert world.clock.now - world.NOW < 12.0


def test_a_notice_that_cannot_be_identified_is_looked_up_later(world, collect):
    world.notices.at = [(world.NOW + 5.0, world.notice(FIRST))]
    world.images.at = [(world.NOW + 5.0, world.image(FIRST))]
    came_back = world.clock.wait

    def wait(seconds):
        came_back(seconds)
        world.images.up = world.clock.now > world.NOW + 6.0

    world.images.up = False
    world.clock.wait = wait
    assert collect() == [FIRST]


def test_a_bucket_that_is_gone_is_told_only_if_there_is_no_image(world, collect):
    world.images.up = False
    with pytest.raises(RetriableError, match="bucket"):
        collect()
