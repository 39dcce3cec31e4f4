// Merged views of layers, for those who read them without running a container. Source: kernel
// Documentation/filesystems/overlayfs.rst.
#pragma once

// A detached, read-only overlay of the directories lower[i] below `parent` (topmost first, two at least): the root that a container
// made of them would see. Nothing is mounted in any mount namespace; the view ends with its descriptor. A CLOEXEC descriptor of
// the root, or -errno.
int overlay_open_view(const char *parent, char *const *lower);
// The same in the way of kernels before 6.7; for the test that compares both.
int overlay_open_view_by_one_option(const char *parent, char *const *lower);
