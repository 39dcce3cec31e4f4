#include "../test.h"

#include "base/mem.h"
#include "base/str.h"
#include "build/dockerfile/instruction.h"

#include <string.h>

static int read_one(const char *text, struct dockerfile_instruction *ret, struct dockerfile_error *err)
{
    struct dockerfile_tokens CLEANUP(dockerfile_tokens_done) tokens = { 0 };
    if (dockerfile_tokens_read(text, strlen(text), &tokens, err) < 0)
        return -1;
    assert_int_equal(tokens.count, 1);
    return dockerfile_instruction_read(&tokens.nodes[0], tokens.directives.escape, ret, err);
}

static struct dockerfile_instruction take(const char *text, enum dockerfile_kind kind)
{
    struct dockerfile_instruction instruction;
    struct dockerfile_error err;
    if (read_one(text, &instruction, &err) < 0)
        fail_msg("%s: %s", text, err.cause.message);
    assert_int_equal(instruction.kind, kind);
    return instruction;
}

#define TAKE(name, text, kind) \
    struct dockerfile_instruction name CLEANUP(dockerfile_instruction_done) = take(text, kind)

static void is_list(char *const *list, const char *want)
{
    char *joined CLEANUP(cleanup_free) = list ? strv_join(list, "|") : xstrdup("");
    assert_string_equal(joined, want);
}

static void from(void **state)
{
    (void)state;
    TAKE(a, "# base is where it begins\nFrom --platform=$P alpine:3 aS Base", DOCKERFILE_FROM);
    assert_string_equal(a.keyword, "From");
    assert_string_equal(a.from.base, "alpine:3");
    assert_string_equal(a.from.platform, "$P");
    assert_string_equal(a.from.name, "base");
    assert_string_equal(a.from.name_as_written, "Base");
    assert_string_equal(a.from.description, "is where it begins");
    TAKE(b, "FROM scratch", DOCKERFILE_FROM);
    assert_null(b.from.name);
    assert_null(b.from.platform);
}

static void copy_and_add(void **state)
{
    (void)state;
    TAKE(c, "COPY --from=x --chown=1:2 --chmod=u=rw --link --parents --exclude=*.o --exclude=b a b /c/",
         DOCKERFILE_COPY);
    is_list(c.copy.sources, "a|b");
    is_list(c.copy.excludes, "*.o|b");
    assert_string_equal(c.copy.destination, "/c/");
    assert_string_equal(c.copy.from, "x");
    assert_string_equal(c.copy.chown, "1:2");
    assert_string_equal(c.copy.chmod, "u=rw");
    assert_true(c.copy.link && c.copy.parents);
    TAKE(j, "COPY [\"a b\", \"<<EOF\", \"c d\"]", DOCKERFILE_COPY);
    is_list(j.copy.sources, "a b|<<EOF");
    TAKE(h, "COPY --link=false x <<-A << 'B' /d/\n\tone $x\nA\n\ttwo\nB\n", DOCKERFILE_COPY);
    is_list(h.copy.sources, "x");
    assert_false(h.copy.link);
    assert_int_equal(h.copy.file_count, 2);
    assert_string_equal(h.copy.files[0].content, "one $x\n");
    assert_true(h.copy.files[0].expands);
    assert_string_equal(h.copy.files[1].name, "B");
    assert_string_equal(h.copy.files[1].content, "\ttwo\n");
    assert_false(h.copy.files[1].expands);
    TAKE(a, "ADD --checksum=sha256:1 --unpack=false --keep-git-dir --link http://x/y /z", DOCKERFILE_ADD);
    assert_string_equal(a.copy.checksum, "sha256:1");
    assert_int_equal(a.copy.unpack, DOCKERFILE_NO);
    assert_int_equal(a.copy.keep_git_dir, DOCKERFILE_YES);
    TAKE(d, "ADD x /z", DOCKERFILE_ADD);
    assert_int_equal(d.copy.unpack, DOCKERFILE_NOT_SAID);
}

static void run(void **state)
{
    (void)state;
    TAKE(r,
         "RUN --network=none --security=insecure --device=vendor.com/gpu=0,required --device=required,name=x "
         "--mount=from=base,target=/a --mount=type=cache,target=$T make all",
         DOCKERFILE_RUN);
    is_list(r.run.command.words, "make all");
    assert_true(r.run.command.is_shell);
    assert_int_equal(r.run.network, DOCKERFILE_NETWORK_NONE);
    assert_true(r.run.has_network && r.run.is_insecure);
    assert_int_equal(r.run.device_count, 2);
    assert_string_equal(r.run.devices[0].name, "vendor.com/gpu=0");
    assert_true(r.run.devices[0].is_required);
    assert_string_equal(r.run.devices[1].name, "x");
    assert_int_equal(r.run.mount_count, 2);
    assert_string_equal(r.run.mounts[0].from, "base");
    assert_null(r.run.mounts[1].from);
    TAKE(e, "RUN [\"a\", \"b c\"]", DOCKERFILE_RUN);
    is_list(e.run.command.words, "a|b c");
    assert_false(e.run.command.is_shell);
    TAKE(h, "RUN python3 <<EOF\nprint(1)\nEOF\n", DOCKERFILE_RUN);
    is_list(h.run.command.words, "python3 <<EOF");
    assert_string_equal(h.run.command.heredocs[0].content, "print(1)\n");
}

static int same(void *data, const char *value, char **ret, struct error *err)
{
    (void)data;
    (void)err;
    *ret = xstrdup(streq(value, "$T") ? "/target" : value);
    return 0;
}

static struct dockerfile_mount mount_of(const char *text)
{
    struct dockerfile_mount mount;
    struct error err;
    if (dockerfile_mount_read(text, same, NULL, &mount, &err) < 0)
        fail_msg("%s: %s", text, err.message);
    return mount;
}

static void mounts(void **state)
{
    (void)state;
    struct dockerfile_mount m CLEANUP(dockerfile_mount_done) = mount_of("src=a,dst=$T");
    assert_int_equal(m.type, DOCKERFILE_MOUNT_BIND);
    assert_true(m.is_read_only);
    assert_string_equal(m.target, "/target");
    struct dockerfile_mount c CLEANUP(dockerfile_mount_done) =
        mount_of("type=cache,\"target=/a,b\",id=x,sharing=locked,mode=0755,uid=1,gid=2,ro,source=s,from=f");
    assert_int_equal(c.type, DOCKERFILE_MOUNT_CACHE);
    assert_int_equal(c.sharing, DOCKERFILE_SHARING_LOCKED);
    assert_string_equal(c.target, "/a,b");
    assert_true(c.is_read_only && c.has_mode && c.has_uid && c.has_gid);
    assert_int_equal(c.mode, 0755);
    assert_int_equal(c.gid, 2);
    struct dockerfile_mount t CLEANUP(dockerfile_mount_done) = mount_of("type=tmpfs,target=/t,size=1m");
    assert_int_equal(t.size_bytes, 1 << 20);
    assert_false(t.is_read_only);
    struct dockerfile_mount s CLEANUP(dockerfile_mount_done) = mount_of("type=secret,id=k,env=KEY,required");
    assert_string_equal(s.env, "KEY");
    assert_true(s.is_required);
    struct dockerfile_mount h CLEANUP(dockerfile_mount_done) = mount_of("type=ssh,required=false,rw=true");
    assert_false(h.is_required);
    assert_false(h.is_read_only);

    static const struct {
        const char *text, *message;
    } bad[] = {
        { "type=bnd,target=/a", "unsupported mount type \"bnd\" (did you mean bind?)" },
        { "type=cache,sharing=lockd", "unsupported sharing value \"lockd\" (did you mean locked?)" },
        { "tagret=/a", "unexpected key 'tagret' in 'tagret=/a' (did you mean target?)" },
        { "target", "invalid field 'target' must be a key=value pair" },
        { "ro=maybe", "invalid value for ro: maybe" },
        { "required=true", "unexpected key 'required' for mount type 'bind'" },
        { "size=1m", "unexpected key 'size' for mount type 'bind'" },
        { "type=tmpfs,size=x", "invalid value for size: x" },
        { "mode=0755", "mode not allowed for \"bind\" type mounts" },
        { "uid=1", "uid not allowed for \"bind\" type mounts" },
        { "type=cache,mode=9", "invalid value 9 for mode" },
        { "type=cache,uid=-1", "invalid value -1 for uid" },
        { "sharing=shared", "invalid cache sharing set for bind mount" },
        { "type=secret", "invalid secret mount. one of source, target required" },
        { "type=secret,id=a,from=b", "secret mount should not have a from" },
        { "type=secret,id=a,src=b", "both source and id can't be set" },
        { "a\"b", "failed to parse csv mounts: bare \" in non-quoted-field" },
    };
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        struct dockerfile_mount mount;
        struct error err;
        if (dockerfile_mount_read(bad[i].text, same, NULL, &mount, &err) == 0)
            fail_msg("taken: %s", bad[i].text);
        assert_string_equal(err.message, bad[i].message);
    }
}

static void pairs(void **state)
{
    (void)state;
    TAKE(e, "ENV a=1 b=\"x y\" c=d\\ e", DOCKERFILE_ENV);
    assert_int_equal(e.pairs.count, 3);
    assert_string_equal(e.pairs.items[1].value, "\"x y\"");
    assert_string_equal(e.pairs.items[2].value, "d\\ e");
    TAKE(l, "LABEL some  the rest = of it", DOCKERFILE_LABEL);
    assert_int_equal(l.pairs.count, 1);
    assert_string_equal(l.pairs.items[0].name, "some");
    assert_string_equal(l.pairs.items[0].value, "the rest = of it");
    assert_true(l.pairs.items[0].is_legacy);
    TAKE(a, "# b is for beta\nARG a b=2 c=", DOCKERFILE_ARG);
    assert_int_equal(a.pairs.count, 3);
    assert_null(a.pairs.items[0].value);
    assert_string_equal(a.pairs.items[1].description, "is for beta");
    assert_string_equal(a.pairs.items[2].value, "");
}

static void commands_and_health(void **state)
{
    (void)state;
    TAKE(c, "CMD [\"a\", \"b\"]", DOCKERFILE_CMD);
    is_list(c.command.words, "a|b");
    TAKE(n, "CMD []", DOCKERFILE_CMD);
    assert_null(n.command.words);
    TAKE(e, "ENTRYPOINT exec top -b", DOCKERFILE_ENTRYPOINT);
    assert_true(e.command.is_shell);
    is_list(e.command.words, "exec top -b");
    TAKE(s, "SHELL [\"/bin/bash\", \"-c\"]", DOCKERFILE_SHELL);
    is_list(s.words, "/bin/bash|-c");
    TAKE(h,
         "HEALTHCHECK --interval=30s --timeout=1m --start-period=5s --start-interval=100ms --retries=3 cmd "
         "curl x",
         DOCKERFILE_HEALTHCHECK);
    assert_true(h.healthcheck.interval_ns == 30000000000 && h.healthcheck.timeout_ns == 60000000000);
    assert_true(h.healthcheck.start_period_ns == 5000000000 && h.healthcheck.start_interval_ns == 100000000);
    assert_int_equal(h.healthcheck.retries, 3);
    is_list(h.healthcheck.command.words, "curl x");
    TAKE(j, "HEALTHCHECK CMD [\"x\", \"y\"]", DOCKERFILE_HEALTHCHECK);
    is_list(j.healthcheck.command.words, "x|y");
    assert_false(j.healthcheck.command.is_shell);
    TAKE(none, "HEALTHCHECK none", DOCKERFILE_HEALTHCHECK);
    assert_true(none.healthcheck.is_none);
}

static void texts(void **state)
{
    (void)state;
    TAKE(x, "EXPOSE 80 443/tcp 10-12/udp", DOCKERFILE_EXPOSE);
    is_list(x.words, "10-12/udp|443/tcp|80");
    TAKE(v, "VOLUME [\"/a\", \" /b \"]", DOCKERFILE_VOLUME);
    is_list(v.words, "/a|/b");
    TAKE(w, "WORKDIR /a b ", DOCKERFILE_WORKDIR);
    assert_string_equal(w.text, "/a b");
    TAKE(u, "USER 1:2", DOCKERFILE_USER);
    assert_string_equal(u.text, "1:2");
    TAKE(s, "STOPSIGNAL SIGQUIT", DOCKERFILE_STOPSIGNAL);
    assert_string_equal(s.text, "SIGQUIT");
    TAKE(m, "MAINTAINER me <me@x>", DOCKERFILE_MAINTAINER);
    assert_string_equal(m.text, "me <me@x>");
    TAKE(o, "ONBUILD  RUN --mount=target=/x cat <<EOF\na\nEOF\n", DOCKERFILE_ONBUILD);
    assert_string_equal(o.text, "RUN --mount=target=/x cat <<EOF\na\nEOF");
    struct dockerfile_instruction t CLEANUP(dockerfile_instruction_done) = { 0 };
    struct dockerfile_error err;
    assert_int_equal(dockerfile_trigger_read(o.text, '\\', (struct dockerfile_lines){ 7, 7 }, &t, &err), 0);
    assert_int_equal(t.kind, DOCKERFILE_RUN);
    assert_int_equal(t.lines.first, 7);
    assert_string_equal(t.run.command.heredocs[0].content, "a\n");
}

static void faults(void **state)
{
    (void)state;
    static const struct {
        const char *text, *message;
    } bad[] = {
        { "FRM alpine", "unknown instruction: FRM (did you mean FROM?)" },
        { "copi a b", "unknown instruction: copi (did you mean copy?)" },
        { "Frm x", "unknown instruction: Frm (did you mean from?)" },
        { "WHATEVER x", "unknown instruction: WHATEVER" },
        { "COPY --frm=x a b", "unknown flag: --frm (did you mean from?)" },
        { "RUN --nope x", "unknown flag: --nope" },
        { "COPY --from=x --from=y a b", "duplicate flag specified: --from" },
        { "COPY --from a b", "missing a value on flag: --from" },
        { "COPY --link= a b", "missing a value on flag: --link" },
        { "COPY --link=maybe a b", "expecting boolean value for flag --link, not: maybe" },
        { "COPY --unpack a b", "unknown flag: --unpack" },
        { "ADD --from=x a b", "unknown flag: --from" },
        { "COPY a", "COPY requires at least two arguments, but only one was provided. Destination could not "
                    "be determined" },
        { "COPY --nope a", "COPY requires at least two arguments, but only one was provided. Destination "
                           "could not be determined" },
        { "COPY a <<EOF\nEOF\n", "COPY cannot accept a heredoc as a destination" },
        { "FROM", "FROM requires either one or three arguments" },
        { "FROM a b", "FROM requires either one or three arguments" },
        { "FROM a IS b", "FROM requires either one or three arguments" },
        { "FROM a AS 1b",
          "invalid name for build stage: \"1b\", name can't start with a number or contain symbols" },
        { "ENV", "ENV requires at least one argument" },
        { "ENV a", "ENV must have two arguments" },
        { "ENV a=b c", "Syntax error - can't find = in \"c\". Must be of the form: name=value" },
        { "LABEL =b", "LABEL names can not be blank" },
        { "ARG", "ARG requires at least one argument" },
        { "ARG =x", "ARG names can not be blank" },
        { "RUN --network=bridge x", "invalid network mode \"bridge\"" },
        { "RUN --security=x y", "security \"x\" is not valid" },
        { "RUN --mount=from=$x,target=/a y",
          "'from' doesn't support variable expansion, define alias stage instead" },
        { "SHELL bash -c", "SHELL requires the arguments to be in JSON form" },
        { "SHELL []", "SHELL requires at least one argument" },
        { "HEALTHCHECK", "HEALTHCHECK requires at least one argument" },
        { "HEALTHCHECK NONE x", "HEALTHCHECK NONE takes no arguments" },
        { "HEALTHCHECK CMD", "Missing command after HEALTHCHECK CMD" },
        { "HEALTHCHECK RUN x", "Unknown type \"RUN\" in HEALTHCHECK (try CMD)" },
        { "HEALTHCHECK --interval=1us CMD x", "Interval \"interval\" cannot be less than 1ms" },
        { "HEALTHCHECK --interval=x CMD x", "time: invalid duration \"x\"" },
        { "HEALTHCHECK --retries=-1 CMD x", "--retries cannot be negative (-1)" },
        { "EXPOSE", "EXPOSE requires at least one argument" },
        { "VOLUME [\"\"]", "VOLUME specified can not be an empty string" },
        { "USER", "USER requires exactly one argument" },
        { "ONBUILD ONBUILD RUN x", "Chaining ONBUILD via `ONBUILD ONBUILD` isn't allowed" },
        { "ONBUILD from x", "FROM isn't allowed as an ONBUILD trigger" },
        { "RUN [\"a\", {}]", "when using JSON array syntax, arrays must be comprised of strings only" },
    };
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        struct dockerfile_instruction instruction;
        struct dockerfile_error err;
        if (read_one(bad[i].text, &instruction, &err) == 0)
            fail_msg("taken: %s", bad[i].text);
        assert_string_equal(err.cause.message, bad[i].message);
        assert_int_equal(err.cause.kind, ERROR_INVALID);
        assert_int_equal(err.lines.first, 1);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(from),   cmocka_unit_test(copy_and_add), cmocka_unit_test(run),
        cmocka_unit_test(mounts), cmocka_unit_test(pairs),        cmocka_unit_test(commands_and_health),
        cmocka_unit_test(texts),  cmocka_unit_test(faults),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
