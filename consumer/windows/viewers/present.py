"""The viewers of a stream who were present when its open buckets began: a list, the longest silent first.

A viewer is appended when a bucket with one of its activities closes, and buckets close in order. So the list is ordered
by the bucket of the last activity, but not within a bucket.
"""

from consumer.runtime.jit import inlined
from consumer.windows.layout import NONE
from consumer.windows.viewers.layout import ViewerArrays


@inlined
def add_present(viewer_arrays: ViewerArrays, row: int, viewer: int) -> None:
    """Append a viewer who is not in the list."""
    present_list, viewers = viewer_arrays.present_lists[row], viewer_arrays.viewers
    last_present = int(present_list["last_present"])
    viewers[viewer]["previous_present"] = last_present
    viewers[viewer]["next_present"] = NONE
    if last_present == NONE:
        present_list["first_present"] = viewer
    else:
        viewers[last_present]["next_present"] = viewer
    present_list["last_present"] = viewer
    present_list["carried"] += 1


@inlined
def remove_present(viewer_arrays: ViewerArrays, row: int, viewer: int) -> None:
    """Take a viewer out of the list."""
    present_list, viewers = viewer_arrays.present_lists[row], viewer_arrays.viewers
    previous_present, next_present = int(viewers[viewer]["previous_present"]), int(viewers[viewer]["next_present"])
    if previous_present == NONE:
        present_list["first_present"] = next_present
    else:
        viewers[previous_present]["next_present"] = next_present
    if next_present == NONE:
        present_list["last_present"] = previous_present
    else:
        viewers[next_present]["previous_present"] = previous_present
    present_list["carried"] -= 1
