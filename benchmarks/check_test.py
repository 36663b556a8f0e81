"""The judgement of check.py: what it must find, and what it must not hold against us."""
import unittest

from check import Machine, judge

THEN = Machine({"system call": 100, "yardstick": 1000, "warm": 50})
OURS, KERNEL = {}, {"our_calls": 1}
RECORDED = {"ours": 100, "tmpfs": 500}


class Judgement(unittest.TestCase):
    def test_the_same_again_passes(self):
        self.assertIsNone(judge(OURS, RECORDED, RECORDED, THEN, THEN))

    def test_ours_by_sixty_percent_slower_is_found(self):
        self.assertIsNotNone(judge(OURS, RECORDED, {"ours": 160, "tmpfs": 500}, THEN, THEN))

    def test_ours_by_forty_percent_slower_is_within_a_third(self):
        self.assertIsNone(judge(OURS, RECORDED, {"ours": 140, "tmpfs": 500}, THEN, THEN))

    def test_a_machine_of_half_the_speed_passes(self):
        now = Machine({"system call": 200, "yardstick": 2000, "warm": 50})
        self.assertIsNone(judge(OURS, RECORDED, {"ours": 200, "tmpfs": 1000}, THEN, now))

    def test_a_neighbour_on_the_same_core_is_no_loss_of_ours(self):
        now = Machine({"system call": 105, "yardstick": 900, "warm": 85})
        self.assertIsNone(judge(OURS, RECORDED, {"ours": 190, "tmpfs": 500}, THEN, now))
        self.assertIsNotNone(judge(OURS, RECORDED, {"ours": 270, "tmpfs": 500}, THEN, now))

    def test_cheap_system_calls_do_not_count_against_us(self):
        now = Machine({"system call": 20, "yardstick": 1000, "warm": 50})
        self.assertIsNone(judge(OURS, {"ours": 40, "tmpfs": 110}, {"ours": 40, "tmpfs": 30}, THEN, now))

    def test_dear_system_calls_do_not_hide_a_loss(self):
        now = Machine({"system call": 1000, "yardstick": 1000, "warm": 50})
        self.assertIsNotNone(judge(OURS, RECORDED, {"ours": 160, "tmpfs": 1400}, THEN, now))

    def test_a_cache_that_is_free_is_no_loss_of_ours(self):
        now = Machine({"system call": 100, "yardstick": 170, "warm": 50})
        self.assertIsNone(judge(OURS, RECORDED, RECORDED, THEN, now))
        self.assertIsNotNone(judge(OURS, RECORDED, {"ours": 160, "tmpfs": 500}, THEN, now))

    def test_a_faster_kernel_is_no_loss_of_ours(self):
        self.assertIsNone(judge(OURS, RECORDED, {"ours": 100, "tmpfs": 200}, THEN, THEN))

    def test_what_passes_on_may_cost_a_system_call_of_this_machine(self):
        now = Machine({"system call": 1000, "yardstick": 1000, "warm": 50})
        self.assertIsNone(judge(KERNEL, {"ours": 130, "tmpfs": 110}, {"ours": 1030, "tmpfs": 1010}, THEN, now))

    def test_what_passes_on_and_calls_twice_is_found(self):
        self.assertIsNotNone(judge(KERNEL, {"ours": 130, "tmpfs": 110}, {"ours": 230, "tmpfs": 110}, THEN, THEN))


if __name__ == "__main__":
    unittest.main()
