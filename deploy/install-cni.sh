#!/bin/sh
# install-cni.sh PLUGIN CONFLIST BIN_DIR CONF_DIR: puts the CNI plugin and its configuration on a node. Run again it changes nothing.
# Each file appears whole, by one rename; the configuration last, for with it the kubelet calls the node ready and the plugin is run.
set -eu
if [ $# -ne 4 ]; then
    echo "usage: install-cni.sh PLUGIN CONFLIST BIN_DIR CONF_DIR" >&2
    exit 2
fi
plugin=$1 conflist=$2 bin_dir=$3 conf_dir=$4

# put SOURCE TARGET MODE
put() {
    if cmp -s "$1" "$2" && [ "$(stat -c %a "$2")" = "$3" ]; then
        echo "$2: as it should be"
        return
    fi
    # Neither a plugin nor a configuration by its name: runtimes read *.conf, *.conflist and *.json only.
    draft=$(mktemp "$(dirname "$2")/.lace-sdn.XXXXXX")
    cat "$1" >"$draft"
    chmod "$3" "$draft"
    mv "$draft" "$2"
    echo "$2: written"
}

mkdir -p "$bin_dir" "$conf_dir"
rm -f "$bin_dir"/.lace-sdn.?????? "$conf_dir"/.lace-sdn.??????
put "$plugin" "$bin_dir/lace-sdn-cni" 755
put "$conflist" "$conf_dir/$(basename "$conflist")" 644
