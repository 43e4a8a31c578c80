# Copyright: Latchkey contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Which reader reads which kind of directive. Pure."""

from typing import Callable, Mapping

from . import read_lists, read_scalars, read_special
from .settings import Directive

_WORD_KINDS = (
    "flag addressfamily permitrootlogin compression gatewayports forwarding ignorerhosts fingerprinthash "
    "facility loglevel"
)

READERS: Mapping[str, Callable[[Directive], None]] = dict(
    {kind: read_scalars.read_word for kind in _WORD_KINDS.split()},
    acceptenv=read_lists.read_accept_env,
    addendum=read_scalars.read_addendum,
    addresslist=read_scalars.read_address_list,
    agent=read_scalars.read_agent,
    authmethods=read_lists.read_methods,
    bindmask=read_scalars.read_bindmask,
    channeltimeout=read_lists.read_channel_timeout,
    ciphers=read_scalars.read_algorithms,
    command=read_scalars.read_command,
    deprecated=read_special.read_nothing,
    filename=read_scalars.read_filename,
    groups=read_lists.read_groups,
    gsskex=read_scalars.read_algorithms,
    hostfile=read_scalars.read_hostfile,
    idletime=read_scalars.read_idle_time,
    ignored=read_special.read_nothing,
    int=read_scalars.read_int,
    ipqos=read_special.read_ipqos,
    kexalgorithms=read_scalars.read_algorithms,
    keyalgorithms=read_scalars.read_key_algorithms,
    keyfiles=read_lists.read_key_files,
    listenaddress=read_special.read_listen_address,
    logverbose=read_lists.read_log_verbose,
    macs=read_scalars.read_algorithms,
    maxstartups=read_special.read_max_startups,
    netblocksize=read_special.read_net_block,
    penalties=read_special.read_penalties,
    permitlisten=read_lists.read_permits,
    permitopen=read_lists.read_permits,
    persourcemaxstartups=read_special.read_per_source_max,
    port=read_special.read_port,
    pubkeyauthoptions=read_lists.read_pubkey_options,
    rawline=read_scalars.read_rawline,
    rdomain=read_scalars.read_rdomain,
    rekeylimit=read_special.read_rekey_limit,
    setenv=read_lists.read_set_env,
    skprovider=read_scalars.read_provider,
    subsystem=read_special.read_subsystem,
    tildefile=read_scalars.read_tilde_file,
    time=read_scalars.read_time,
    tunnel=read_scalars.read_tunnel,
    unsupported=read_special.read_nothing,
    userenvironment=read_scalars.read_user_environment,
    users=read_lists.read_users,
    word=read_scalars.read_plain,
)


def read(directive: Directive) -> None:
    """Read one directive into its settings. Raises Malformed, or Bad where sshd goes on reading the file."""
    READERS[directive.keyword.kind](directive)
