// Every command, defined in the file of its name or family.
#pragma once

#include "cli/cli.h"

extern const struct command command_attach, command_create, command_events, command_exec, command_history,
    command_images, command_import, command_info, command_inspect, command_kill, command_load, command_logs,
    command_pause, command_port, command_ps, command_pull, command_rename, command_restart, command_rm,
    command_rmi, command_run, command_save, command_start, command_stop, command_tag, command_top,
    command_unpause, command_update, command_version, command_wait;
extern const struct command command_scale;
extern const struct command command_login, command_logout, command_push, command_search;
extern const struct command command_stats, command_system_df, command_system_fsck;
extern const struct command command_artifact_attach, command_artifact_ls, command_artifact_pull;
extern const struct command command_manifest_annotate, command_manifest_create, command_manifest_inspect,
    command_manifest_push, command_manifest_rm;
extern const struct command command_image_dedup, command_image_diff, command_image_flatten, command_image_gc;
extern const struct command command_commit, command_cp, command_diff, command_export;
extern const struct command command_container_inspect, command_container_prune, command_image_inspect,
    command_image_prune, command_network_connect, command_network_create, command_network_disconnect,
    command_network_inspect, command_network_ls, command_network_prune, command_network_rm,
    command_system_prune;
extern const struct command command_volume_clone, command_volume_create, command_volume_inspect,
    command_volume_ls, command_volume_prune, command_volume_rename, command_volume_rm;
extern const struct command command_volume_restore, command_volume_snapshot, command_volume_snapshots,
    command_volume_update;
