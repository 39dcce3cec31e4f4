// The rules' names and words, and the options that switch them.
#include "build/dockerfile/lint_internal.h"

#include "base/mem.h"
#include "build/dockerfile/arguments.h"

#include <assert.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>

#define PAGES "https://docs.docker.com/go/dockerfile/rule/"

enum { EXPERIMENTAL_RULES = 1 << LINT_INVALID_DEFINITION_DESCRIPTION };

static const struct {
    const char *name, *description, *url;
} rules[] = {
    [LINT_CONSISTENT_INSTRUCTION_CASING] = { "ConsistentInstructionCasing",
                                             "All commands within the Dockerfile should use the same casing "
                                             "(either "
                                             "upper or lower)",
                                             PAGES "consistent-instruction-casing/" },
    [LINT_COPY_IGNORED_FILE] = { "CopyIgnoredFile",
                                 "Attempting to Copy file that is excluded by .dockerignore",
                                 PAGES "copy-ignored-file/" },
    [LINT_DUPLICATE_STAGE_NAME] = { "DuplicateStageName", "Stage names should be unique",
                                    PAGES "duplicate-stage-name/" },
    [LINT_EXPOSE_INVALID_FORMAT] = { "ExposeInvalidFormat",
                                     "IP address and host-port mapping should not be used in EXPOSE "
                                     "instruction. This "
                                     "will become an error in a future release",
                                     PAGES "expose-invalid-format/" },
    [LINT_EXPOSE_PROTO_CASING] = { "ExposeProtoCasing", "Protocol in EXPOSE instruction should be lowercase",
                                   PAGES "expose-proto-casing/" },
    [LINT_FROM_AS_CASING] = { "FromAsCasing", "The 'as' keyword should match the case of the 'from' keyword",
                              PAGES "from-as-casing/" },
    [LINT_FROM_PLATFORM_FLAG_CONST_DISALLOWED] = { "FromPlatformFlagConstDisallowed",
                                                   "FROM --platform flag should not use a constant value",
                                                   PAGES "from-platform-flag-const-disallowed/" },
    [LINT_INVALID_DEFAULT_ARG_IN_FROM] = { "InvalidDefaultArgInFrom",
                                           "Default value for global ARG results in an empty or invalid base "
                                           "image "
                                           "name",
                                           PAGES "invalid-default-arg-in-from/" },
    [LINT_INVALID_DEFINITION_DESCRIPTION] = { "InvalidDefinitionDescription",
                                              "Comment for build stage or argument should follow the format: "
                                              "`# "
                                              "<arg/stage name> <description>`. If this is not intended to "
                                              "be a "
                                              "description comment, add an empty line or comment between the "
                                              "instruction and the comment.",
                                              PAGES "invalid-definition-description/" },
    [LINT_JSON_ARGS_RECOMMENDED] = { "JSONArgsRecommended",
                                     "JSON arguments recommended for ENTRYPOINT/CMD to prevent unintended "
                                     "behavior "
                                     "related to OS signals",
                                     PAGES "json-args-recommended/" },
    [LINT_LEGACY_KEY_VALUE_FORMAT] = { "LegacyKeyValueFormat",
                                       "Legacy key/value format with whitespace separator should not be used",
                                       PAGES "legacy-key-value-format/" },
    [LINT_MAINTAINER_DEPRECATED] = { "MaintainerDeprecated",
                                     "The MAINTAINER instruction is deprecated, use a label instead to "
                                     "define an image "
                                     "author",
                                     PAGES "maintainer-deprecated/" },
    [LINT_MULTIPLE_INSTRUCTIONS_DISALLOWED] = { "MultipleInstructionsDisallowed",
                                                "Multiple instructions of the same type should not be used "
                                                "in the same "
                                                "stage",
                                                PAGES "multiple-instructions-disallowed/" },
    [LINT_NO_EMPTY_CONTINUATION] = { "NoEmptyContinuation",
                                     "Empty continuation lines will become errors in a future release",
                                     PAGES "no-empty-continuation/" },
    [LINT_REDUNDANT_TARGET_PLATFORM] = { "RedundantTargetPlatform",
                                         "Setting platform to predefined $TARGETPLATFORM in FROM is "
                                         "redundant as this "
                                         "is the default behavior",
                                         PAGES "redundant-target-platform/" },
    [LINT_RESERVED_STAGE_NAME] = { "ReservedStageName", "Reserved words should not be used as stage names",
                                   PAGES "reserved-stage-name/" },
    [LINT_SECRETS_USED_IN_ARG_OR_ENV] = { "SecretsUsedInArgOrEnv",
                                          "Sensitive data should not be used in the ARG or ENV commands",
                                          PAGES "secrets-used-in-arg-or-env/" },
    [LINT_STAGE_NAME_CASING] = { "StageNameCasing", "Stage names should be lowercase",
                                 PAGES "stage-name-casing/" },
    [LINT_UNDEFINED_ARG_IN_FROM] = { "UndefinedArgInFrom", "FROM command must use declared ARGs",
                                     PAGES "undefined-arg-in-from/" },
    [LINT_UNDEFINED_VAR] = { "UndefinedVar", "Variables should be defined before their use",
                             PAGES "undefined-var/" },
    [LINT_WORKDIR_RELATIVE_PATH] = { "WorkdirRelativePath",
                                     "Relative workdir without an absolute workdir declared within the build "
                                     "can have "
                                     "unexpected results if the base image changes",
                                     PAGES "workdir-relative-path/" },
};

static_assert(sizeof rules / sizeof *rules == LINT_RULE_COUNT, "every rule has its words");

const char *lint_rule_name(enum lint_rule rule)
{
    return rules[rule].name;
}

const char *lint_rule_description(enum lint_rule rule)
{
    return rules[rule].description;
}

const char *lint_rule_url(enum lint_rule rule)
{
    return rules[rule].url;
}

// "all", or names between commas; names that are no rule of ours mean nothing.
static lint_rules read_rules(const char *text)
{
    char **names CLEANUP(strv_freep) = strv_split(text, ",", false);
    lint_rules set = 0;
    if (streq(text, "all"))
        return ~0U;
    for (char **name = names; name && *name; name++) {
        char *trimmed CLEANUP(cleanup_free) = arguments_trimmed(*name, strlen(*name));
        for (unsigned rule = 0; rule < LINT_RULE_COUNT; rule++)
            if (streq(rules[rule].name, trimmed))
                set |= 1U << rule;
    }
    return set;
}

static int read_option(const char *option, struct lint_config *config, struct error *err)
{
    const char *equals = strchr(option, '=');
    if (!equals)
        return error_set(err, ERROR_INVALID, "invalid check option \"%s\"", option);
    char *key CLEANUP(cleanup_free) = arguments_trimmed(option, (size_t)(equals - option));
    char *value CLEANUP(cleanup_free) = arguments_trimmed(equals + 1, strlen(equals + 1));
    if (streq(key, "skip")) {
        config->skipped = read_rules(value);
    } else if (streq(key, "experimental")) {
        config->experimental = read_rules(value);
    } else if (streq(key, "error")) {
        bool is_true = strcasecmp(value, "true") == 0 || streq(value, "1") || strcasecmp(value, "t") == 0;
        bool is_false = strcasecmp(value, "false") == 0 || streq(value, "0") || strcasecmp(value, "f") == 0;
        if (!is_true && !is_false)
            return error_set(err, ERROR_INVALID, "failed to parse check option \"%s\"", option);
        config->returns_error = is_true;
    } else {
        return error_set(err, ERROR_INVALID, "invalid check option \"%s\"", key);
    }
    return 0;
}

int lint_config_read(const char *text, struct lint_config *ret, struct error *err)
{
    struct lint_config config = { 0 };
    char **options CLEANUP(strv_freep) = str_is_empty(text) ? NULL : strv_split(text, ";", true);
    for (char **option = options; option && *option; option++)
        if (read_option(*option, &config, err) < 0)
            return -1;
    *ret = config;
    return 0;
}

// What the comment above an instruction adds to the file's options; one that is malformed adds nothing.
static struct lint_config config_with_comments(const struct lint_config *config, char *const *comments)
{
    struct lint_config merged = *config, own;
    struct error err;
    for (; comments && *comments; comments++) {
        if (!str_has_prefix(*comments, "check"))
            continue;
        const char *s = *comments + strlen("check");
        s += strspn(s, " \t");
        if (*s++ != '=')
            continue;
        char *value CLEANUP(cleanup_free) = arguments_trimmed(s, strlen(s));
        value[strcspn(value, " ")] = 0;
        if (lint_config_read(value, &own, &err) < 0)
            break;
        merged.skipped |= own.skipped;
        merged.experimental |= own.experimental;
        break;
    }
    return merged;
}

void lint_warn(struct linter *linter, enum lint_rule rule, char *const *comments,
               struct dockerfile_lines lines, const char *fmt, ...)
{
    struct lint_config config = config_with_comments(&linter->config, comments);
    struct lint_report *report = linter->report;
    lint_rules bit = 1U << rule;
    struct str message CLEANUP(str_done) = STR_INIT;
    va_list ap;
    bool is_experimental = bit & EXPERIMENTAL_RULES;
    if (is_experimental ? !(config.experimental & bit) : (config.skipped & bit) != 0)
        return;
    va_start(ap, fmt);
    str_vappendf(&message, fmt, ap);
    va_end(ap);
    report->warnings = xreallocarray(report->warnings, report->count + 1, sizeof *report->warnings);
    report->warnings[report->count++] = (struct lint_warning){ rule, lines, str_take(&message) };
}
