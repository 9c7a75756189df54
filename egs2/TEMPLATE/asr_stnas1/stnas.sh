#!/usr/bin/env bash
# Search, derive and retrain an encoder around ESPnet's asr.sh. Called by run.sh.
set -euo pipefail

help_message=$(cat << 'USAGE'
Usage: ./run.sh [--<option> <value> ...]

Needs an ESPnet checkout (export ESPNET_ROOT=/path/to/espnet) and the corpus (exported
as the recipe's README says, or in ESPnet's egs2/TEMPLATE/asr1/db.sh).

Stages:
   1  data preparation            }                 11  search
   2  speed perturbation          }                 12  derive, report
   3  format wav.scp              } as in           13  retrain (asr.sh's 11)
   4  remove long and short ones  } ESPnet's        14  decode  (asr.sh's 12)
   5  token list                  } asr.sh          15  score   (asr.sh's 13)
   6-9  language models           }                 16  pack    (asr.sh's 14)
  10  statistics                  }
The report of 12 is made again by 15, with the error rates.
A stage that is complete is not run again, unless options that matter to it have changed
or its mark in <expdir>/.done is removed. A search or training that was stopped goes on
from its last epoch.

Options (default):
  --stage, --stop_stage  first and last stage (1, 15)
  --arch                 an architecture file, found elsewhere, or zoo:NAME (stnas zoo
                         lists them): no search
  --search_config        (conf/search.yaml)
  --search_args          more options for the search ("")
  --search_tag           name of the search (from search_config and units)
  --epoch                epoch of the search to derive from (latest)
  --budget               the most that the architecture may cost, such as params=8M or
                         params=85% (of the largest), see stnas select --help; several
                         with spaces between. none: as in the paper, the most probable
                         of all (that of run.sh, or none)
  --select_args          of a budget: more options of stnas select, such as
                         "--device cuda" ("")
  --train_config         retraining without its encoder (conf/train_asr.yaml, or
                         conf/tuning/train_asr_ctc_crf.yaml with --criterion ctc_crf)
  --comparison           true: --train_config has an encoder of its own, which is trained
                         without a search, to compare with (false)
  --train_args           more options for the retraining ("")
  --tag                  name of the retraining (from train_config, criterion, units,
                         --arch and --budget)
  --criterion            ctc: as train_config says. ctc_crf: with CTC-CRF, by a label LM
                         that stage 12 estimates from the training text (ctc)
  --label_lm_args        more options for the label LM, see stnas label-lm
                         --help ("")
  --units                phn: search and training are over the phones of --lexicon, and
                         words are decoded with it; other units: --token_type ("")
  --lexicon              of phn: words and their phones; several files are one ("")
  --unk_phn              of phn: phone for words of the training and validation text
                         that --lexicon lacks; "": they are an error ("")
  --word_lm              of phn: word n-gram LM, an ARPA file or KenLM's binary ("")
  --decode_args          of phn: more options for decoding, see stnas decode --help
                         ("")
  --ngpu, --num_nodes    GPUs a node, and nodes, of searches and trainings (1, 1)
  --expdir, --dumpdir    (exp, dump)
  --python               (python3 -m espnet_stnas.run)
All other options are asr.sh's own, such as --token_type bpe --nbpe 80, --nj 32,
--speed_perturb_factors "", --use_lm false, --lm_args, --inference_config. Values that
run.sh sets for them are the defaults of the recipe.
export cmd_backend=slurm (sge, pbs, ssh, stdout) takes jobs to a cluster, see cmd.sh.
USAGE
)

stage=1
stop_stage=15
espnet_recipe=
corpus=
programs=
default_budget=none
arch=
search_config=conf/search.yaml
search_args=
search_tag=
epoch=latest
budget=
select_args=
train_config=
comparison=false
train_args=
tag=
criterion=ctc
label_lm_args=
units=
lexicon=
unk_phn=
word_lm=
decode_args=
ngpu=1
num_nodes=1
expdir=exp
dumpdir=dump
python="python3 -m espnet_stnas.run"

own="stage stop_stage espnet_recipe corpus programs default_budget comparison arch search_config search_args search_tag \
epoch budget select_args train_config train_args tag criterion label_lm_args units lexicon unk_phn word_lm \
decode_args ngpu num_nodes expdir dumpdir python"

log() {
    echo "$(date '+%Y-%m-%dT%H:%M:%S') $*"
}

die() {
    echo "run.sh: error: $*" >&2
    exit 1
}

# asr.sh's options: what is passed on, and where a value is needed here, what it is.
declare -A passed=([lang]=noinfo [token_type]=bpe [nbpe]=30 [speed_perturb_factors]="" \
    [feats_type]=raw [train_set]="" [valid_set]="" [test_sets]="")
while [ $# -gt 0 ]; do
    case "$1" in
        -h|--help)
            echo "${help_message}"
            exit 0
            ;;
        --*)
            [ $# -gt 1 ] || die "option $1 needs a value"
            name=${1#--}
            name=${name//-/_}
            case " ${own} " in
                *" ${name} "*) printf -v "${name}" '%s' "$2" ;;
                *) passed[${name}]=$2 ;;
            esac
            shift 2
            ;;
        *)
            die "unexpected argument '$1'; options look like --stage 3"
            ;;
    esac
done
for name in stage stop_stage ngpu num_nodes; do
    [[ "${!name}" =~ ^[0-9]{1,9}$ ]] \
        || die "--${name} is '${!name}'; accepted is an integer from 0 to 999999999"
done
[[ "${epoch}" =~ ^([0-9]{1,9}|latest)$ ]] \
    || die "--epoch is '${epoch}'; accepted is a number or latest"
case "${comparison}" in
    true)
        for name in arch budget; do
            [ -z "${!name}" ] || die "--${name} is not accepted with --comparison true," \
                "which trains the encoder of --train_config"
        done
        [ "${criterion}" = ctc ] || die "--criterion is '${criterion}'; accepted with" \
            "--comparison true is ctc"
        budget=none
        ;;
    false) ;;
    *) die "--comparison is '${comparison}'; accepted are true, false" ;;
esac
# The recipe's default is for what is searched.
[ -n "${budget}${arch}" ] || budget=${default_budget}
budget=${budget:-none}
if [ "${budget}" = none ]; then
    [ -z "${select_args}" ] || die "--select_args is only accepted with --budget"
else
    [ -z "${arch}" ] || die "--budget is not accepted with --arch, which is chosen already"
    for limit in ${budget}; do
        case ${limit} in
            params=?*|macs=?*|latency=?*|field=?*|lookahead=?*) ;;
            *)
                die "--budget is '${budget}'; accepted are params=, macs=, latency=," \
                    "field= and lookahead= with a number or a share, such as" \
                    "params=85%, and none"
                ;;
        esac
    done
fi
case "${criterion}:${passed[token_type]}" in
    ctc:*|ctc_crf:char|ctc_crf:bpe|ctc_crf:word) ;;
    ctc_crf:*)
        die "--criterion ctc_crf has no label LM for --token_type" \
            "'${passed[token_type]}'; accepted are char, bpe, word"
        ;;
    *) die "--criterion is '${criterion}'; accepted are ctc, ctc_crf" ;;
esac
read -ra lexicon <<< "${lexicon}"
case "${units}" in
    phn)
        [ "${#lexicon[@]}" -gt 0 ] \
            || die "--units phn needs --lexicon, a file of words and their phones"
        [ "${passed[cleaner]:-none}" = none ] \
            || die "--cleaner is not accepted with --units phn: it would change phones"
        ;;
    "")
        for name in lexicon unk_phn word_lm decode_args; do
            [ -z "${!name:-}" ] || die "--${name} is only accepted with --units phn"
        done
        ;;
    *)
        die "--units is '${units}'; accepted is phn; other units are given by" \
            "--token_type"
        ;;
esac
if [ -z "${train_config}" ]; then
    train_config=conf/train_asr.yaml
    [ "${criterion}" = ctc ] || train_config=conf/tuning/train_asr_ctc_crf.yaml
fi

in_stages() {
    [ "${stage}" -le "$1" ] && [ "${stop_stage}" -ge "$1" ]
}

# What is missing shall be said before anything is computed.
# shellcheck disable=SC1091
. ./path.sh
# shellcheck disable=SC1091
. ./cmd.sh
template=${ESPNET_ROOT}/egs2/TEMPLATE/asr1
for name in "${!passed[@]}"; do
    grep -q "^${name}=" "${template}/asr.sh" \
        || die "unknown option --${name}; neither run.sh --help nor asr.sh has it"
done
for name in asr_config asr_exp asr_tag asr_args asr_stats_dir; do
    [ -z "${passed[${name}]:-}" ] \
        || die "--${name} is not accepted here; see --train_config, --train_args," \
            "--tag and --expdir in run.sh --help"
done
[ "${passed[asr_task]:-asr}" = asr ] \
    || die "--asr_task is '${passed[asr_task]}'; accepted is asr, since the encoders of" \
        "asr_transducer are other ones (asr has transducers, too: decoder: transducer)"
searches=$([ -n "${arch}" ] || [ "${comparison}" = true ] || echo true)
if [ -n "${searches}" ] && in_stages 11 && [ "${passed[use_lightning]:-false}" != false ]; then
    die "--use_lightning is '${passed[use_lightning]}', and Lightning cannot search;" \
        "accepted is false, or --arch, which needs no search"
fi
case "${python}" in
    *"-m espnet_stnas.run") ;;
    *)
        die "--python is '${python}'; accepted is a Python with our program, such as" \
            "'python3 -m espnet_stnas.run': the search gets its --search by itself"
        ;;
esac
# stnas derive knows the names of the zoo.
arch_file=${arch:-/dev/null}
[ "${arch#zoo:}" = "${arch}" ] || arch_file=/dev/null
for file in "${search_config}" "${train_config}" "${arch_file}" \
    "${passed[inference_config]:-/dev/null}" "${passed[lm_config]:-/dev/null}" \
    "${lexicon[@]}" "${word_lm:-/dev/null}"; do
    [ -e "${file}" ] \
        || die "there is no file '${file}'; paths are relative to ${PWD}"
done
[ "${criterion}" = ctc_crf ] || ! grep -q "^model: *ctc_crf" "${train_config}" \
    || die "${train_config} has model ctc_crf, which needs --criterion ctc_crf"
if in_stages 1; then
    # shellcheck disable=SC1091
    . ./db.sh
    for name in ${corpus}; do
        [ -d "${!name:-}" ] \
            || die "${name} is '${!name:-}', which is no directory; export" \
                "${name}=/path/to/corpus, or set it in ${template}/db.sh"
    done
    for name in ${programs}; do
        command -v "${name}" > /dev/null \
            || die "${name} is missing, and data preparation calls it; ESPnet's" \
                "tools/installers or the system's packages have it"
    done
fi
if in_stages 1 || { in_stages 2 && [ -n "${passed[speed_perturb_factors]}" ]; }; then
    command -v sox > /dev/null \
        || die "sox is missing; install it (Debian: apt-get install sox), or give" \
            '--speed_perturb_factors ""'
fi
if in_stages 15; then
    command -v sclite > /dev/null \
        || die "sclite is missing; install sctk (ESPnet's" \
            "tools/installers/install_sctk.sh, or Debian: apt-get install sctk)"
    [ -z "${espnet_recipe}" ] \
        || [ ! -f "${ESPNET_ROOT}/egs2/${espnet_recipe}/local/score.sh" ] \
        || [ -f "${ESPNET_ROOT}/tools/sctk/bin/hubscr.pl" ] \
        || die "${ESPNET_ROOT}/tools/sctk/bin/hubscr.pl is missing; install sctk with" \
            "ESPnet's tools/installers/install_sctk.sh, or link Debian's:" \
            "ln -s /usr/lib/sctk ${ESPNET_ROOT}/tools/sctk"
fi
read -ra program <<< "${python}"
"${program[0]}" -c "import espnet_stnas" 2> /dev/null \
    || die "${program[0]} cannot import espnet_stnas; pip install it there, or activate" \
        "the environment that has it"
# A cluster has its GPUs elsewhere.
case "${cmd_backend:-local}" in
    local|stdout)
        if [ "${ngpu}" -gt 0 ] && { in_stages 11 || in_stages 13; }; then
            "${program[0]}" -c "from argparse import Namespace
from espnet_stnas.errors import plain_errors as plain
from espnet_stnas.host.start import check_ngpu
with plain(): check_ngpu(Namespace(ngpu=${ngpu}))" || exit 1
        fi
        ;;
esac
if [ "${units}" = phn ] && in_stages 14; then
    "${program[0]}" -c "from espnet_stnas.errors import plain_errors as plain
from espnet_stnas.ctc_crf.decoding.beam import require_flashlight as require
with plain(): require()" || exit 1
fi
# The checkout's scripts import modules of the installed ESPnet, some of which moved.
module=$(grep -ohE "espnet2?(\.legacy|\.nets|\.utils)[a-z0-9_.]*cli_utils" \
    "${template}/pyscripts/audio/format_wav_scp.py" | head -n 1 || true)
[ -z "${module}" ] || "${program[0]}" -c "import ${module}, kaldiio" 2> /dev/null \
    || die "${template} is of ESPnet $(cat "${ESPNET_ROOT}/version.txt"), whose scripts" \
        "need ${module} and kaldiio, which ${program[0]} has not ($("${program[0]}" -c \
        'from importlib.metadata import version; print("espnet", version("espnet"))'));" \
        "check out the ESPnet that is installed, and pip install kaldiio"
compared=("${train_config}")
[ -z "${searches}" ] || ! in_stages 11 || compared+=("${search_config}")
if [ "${comparison}" = true ]; then
    grep -q "^encoder: " "${train_config}" \
        || die "${train_config} has no encoder, which --comparison true would train"
fi
features=$("${program[0]}" -m espnet_stnas check-features "${compared[@]}")

# ESPnet's scripts, as they are. The corpus's own ones are linked, not copied, unless
# the recipe has its own.
for name in asr.sh pyscripts scripts steps utils; do
    ln -sfn "${template}/${name}" "${name}"
done
[ -z "${espnet_recipe}" ] || ln -sfn "${ESPNET_ROOT}/egs2/${espnet_recipe}/local" local
for launcher in "${train_cmd:?}" "${cuda_cmd:?}" "${decode_cmd:?}"; do
    launcher=${launcher%% *} # without its options
    command -v "${launcher}" > /dev/null \
        || die "cmd_backend is '${cmd_backend:-local}', but ${launcher} is not in" \
            "${template}/utils of this ESPnet; choose another, see cmd.sh"
done
for name in queue pbs slurm; do
    [ -e "conf/${name}.conf" ] || cp "${template}/conf/${name}.conf" conf/
done

train_set=${passed[train_set]}${passed[speed_perturb_factors]:+_sp}
dump=${dumpdir}/${passed[feats_type]}
units_dumpdir=${dumpdir}
if [ "${units}" = phn ]; then
    # Phones are the words of a language of its own.
    units_dumpdir=${dumpdir}_phn
    passed[token_type]=word
    passed[use_lm]=false
    passed[lang]=${passed[lang]/#noinfo/}
    passed[lang]+=${passed[lang]:+_}phn
fi
units_dump=${units_dumpdir}/${passed[feats_type]}
token_lists=data/${passed[lang]}_token_list
[ "${passed[lang]}" != noinfo ] || token_lists=data/token_list
case ${passed[token_type]} in
    bpe) token_lists+=/bpe_${passed[bpemode]:-unigram}${passed[nbpe]} ;;
    *) token_lists+=/${passed[token_type]} ;;
esac
suffix_of_tag=
suffix=${units:-${passed[token_type]}}
[ "${suffix}" != bpe ] || suffix+=${passed[nbpe]}
suffix+=${passed[speed_perturb_factors]:+_sp}
name=$(basename "${search_config}" .yaml)
search_tag=${search_tag:-${name}_${suffix}}
name=$(basename "${train_config}" .yaml)
[ "${criterion}" = ctc ] || name=${name%_"${criterion}"}_${criterion}
[ "${budget}" = none ] || suffix_of_tag=_${budget//[!a-zA-Z0-9.]/}
tag=${tag:-${name}_${suffix}${arch:+_$(basename "${arch#zoo:}" .yaml)}${suffix_of_tag}}
search_exp=${expdir}/${search_tag}
asr_exp=${expdir}/asr_${tag}
stats=${expdir}/asr_stats_${passed[feats_type]}_${suffix}
derived=${expdir}/derived_${tag}
inference_tag=${passed[inference_tag]:-}
if [ "${units}" = phn ] && [ -z "${inference_tag}" ]; then
    model=${passed[inference_asr_model]:-valid.acc.ave.pth}
    inference_tag=decode_lexicon${word_lm:+_$(basename "${word_lm}" .gz)}
    inference_tag=${inference_tag%.*}$(echo "${decode_args}" | sed 's/ *--/_/g; s/[ =/]//g')
    inference_tag+=_asr_model_${model%.*}
fi

names=()
for name in "${!passed[@]}"; do
    names+=("${name}")
done
mapfile -t names < <(printf '%s\n' "${names[@]}" | LC_ALL=C sort)
options=(--expdir "${expdir}" --asr_stats_dir "${stats}")
options+=(--ngpu "${ngpu}" --num_nodes "${num_nodes}")
for name in "${names[@]}"; do
    options+=("--${name}" "${passed[${name}]}")
done

# The mark of a stage: what it was done with.
mark_of() {
    case $1 in
        [1-4]) echo "${expdir}/.done/$1${passed[speed_perturb_factors]:+_sp}" ;;
        [5-9]|10) echo "${expdir}/.done/$1_${suffix}" ;;
        11) echo "${expdir}/.done/$1_${search_tag}" ;;
        *) echo "${expdir}/.done/$1_${tag}" ;;
    esac
}

mark() {
    cat "$(mark_of "$1")" 2> /dev/null || true
}

signature() {
    local number=$1 name
    shift
    for name in "${names[@]}"; do
        case "${number}:${name}" in
            *:nj|*:*inference_nj|*:gpu_inference) continue ;;
            [1-4]:*_set|[1-4]:*_sets|[1-4]:speed_*|[1-4]:feats_type|[1-4]:fs) ;;
            [1-4]:audio_format|[1-4]:*_wav_duration|[1-4]:*local_data_opts) ;;
            [1-4]:*) continue ;;
            [6-9]:inference_*|[6-9]:score_opts) continue ;;
            5:inference_*|1[013]:inference_*) continue ;;
            5:score_opts|1[013]:score_opts) continue ;;
            5:lm_config|5:lm_args|5:lm_tag|5:lm_exp|5:use_lm) continue ;;
            1[013]:lm_*|1[013]:use_lm) continue ;;
        esac
        echo "${name}=${passed[${name}]}"
    done | cksum
    printf '%s\n' "$@"
}

resume_hint() {
    log "Stage $1 failed. When its cause is mended, go on with the same options and" \
        "--stage $1." >&2
    exit 1
}

# Run a stage, unless it is done: <stage> <what its result depends on> -- <command>
run_stage() {
    local number=$1 basis=() sign file
    shift
    while [ "$1" != -- ]; do
        basis+=("$1")
        shift
    done
    shift
    file=$(mark_of "${number}")
    sign=$(signature "${number}" "${basis[@]}")
    if [ -f "${file}" ] && [ "$(cat "${file}")" = "${sign}" ]; then
        log "Stage ${number} is complete (${file})"
        return
    fi
    rm -f "${file}"
    "$@" || resume_hint "${number}"
    mkdir -p "$(dirname "${file}")"
    echo "${sign}" > "${file}.part"
    mv "${file}.part" "${file}"
}

# A stage of asr.sh, by asr.sh's own number.
asr() {
    local number=$1 dir=${dumpdir}
    shift
    case ${number} in [5-9]|1[01]) dir=${units_dumpdir} ;; esac
    ./asr.sh "${options[@]}" --dumpdir "${dir}" --stage "${number}" \
        --stop_stage "${number}" "$@"
}

# Speech as it is, phones for words, and the token list of all phones of the lexicon.
make_phones() {
    local name to unknown=()
    [ -z "${unk_phn}" ] || unknown=(--unk "${unk_phn}")
    mkdir -p "${token_lists}"
    for name in "${train_set}" "${passed[valid_set]}"; do
        to=${units_dump}/${name}
        mkdir -p "${to}" \
            && cp -r "${dump}/${name}/." "${to}/" \
            && "${program[0]}" -m espnet_stnas lexicon \
                "${lexicon[@]}" "${unknown[@]}" --text "${dump}/${name}/text" \
                --output "${to}/text" --token_list "${token_lists}/tokens.txt" \
            || return 1
        # Words in another case than the lexicon's would all be unknown.
        if awk -v unknown="${unk_phn}" '{ for (i = 2; i <= NF; i++) n += $i == unknown;
                all += NF - 1 } END { exit !(n > all / 5) }' "${to}/text"; then
            echo "Most words of ${dump}/${name}/text are not in ${lexicon[*]}; is one in" \
                "upper case, and the other in lower case?" >&2
            return 1
        fi
    done
}

# ${derived}/train_ctc.yaml with a label LM inside: each text once, as in the paper, so
# that neither copies by speed perturbation nor prompts of many speakers count more.
make_label_lm() {
    local extra=() options=(--token_type "${passed[token_type]}")
    read -ra extra <<< "${label_lm_args}"
    [ "${passed[token_type]}" != bpe ] || options+=(--bpemodel "${token_lists}/bpe.model")
    [ "${passed[nlsyms_txt]:-none}" = none ] || [ "${units}" = phn ] \
        || options+=(--non_linguistic_symbols "${passed[nlsyms_txt]}")
    [ "${passed[cleaner]:-none}" = none ] || options+=(--cleaner "${passed[cleaner]}")
    awk '{ name = $1; $1 = "" } NF > 1 && !known[$0]++ { print name $0 }' \
        "${units_dump}/${train_set}/text" > "${derived}/label_lm.txt" \
        && "${program[0]}" -m espnet_stnas label-lm "${derived}/label_lm.txt" \
            --heldout "${units_dump}/${passed[valid_set]}/text" --map_unknown \
            --token_list "${token_lists}/tokens.txt" "${options[@]}" "${extra[@]}" \
            --output "${derived}/label_lm.arpa.gz" \
            --train_config "${derived}/train_ctc.yaml" --train_output "${derived}/train.yaml"
}

# Words by lexicon and word LM, in the files that asr.sh's scoring reads.
decode_words() {
    local name sets="" valid="" scp type=sound jobs dir extra=() keys=() file n
    local gpu=0 launcher=${decode_cmd}
    read -ra extra <<< "${decode_args}"
    [ -z "${word_lm}" ] || extra+=(--word_lm "${word_lm}")
    if [ "${passed[gpu_inference]:-false}" = true ]; then
        gpu=1 launcher=${cuda_cmd}
    fi
    # As asr.sh: the validation set comes first, and with all of its utterances.
    [ "${passed[eval_valid_set]:-false}" = false ] || valid=org/${passed[valid_set]}
    for name in ${passed[test_sets]}; do
        case ${name} in
            "${passed[valid_set]}") valid=org/${name} ;;
            *) sets+=" ${name}" ;;
        esac
    done
    for name in ${valid} ${sets}; do
        scp=${dump}/${name}/wav.scp
        if [ ! -f "${scp}" ]; then
            scp=${dump}/${name}/feats.scp type=kaldi_ark
        elif [[ ${passed[audio_format]:-flac} == *ark* ]]; then
            type=kaldi_ark
        fi
        dir=${asr_exp}/${inference_tag}/${name}
        rm -rf "${dir}/logdir"
        mkdir -p "${dir}/logdir" || return 1
        jobs=$(wc -l < "${scp}") || return 1
        [ "${jobs}" -le "${passed[inference_nj]:-32}" ] || jobs=${passed[inference_nj]:-32}
        keys=()
        for ((n = 1; n <= jobs; n++)); do
            keys+=("${dir}/logdir/keys.${n}.scp")
        done
        utils/split_scp.pl "${scp}" "${keys[@]}" || return 1
        log "Decoding ${name}, log: ${dir}/logdir/ctc_decode.*.log"
        # Launchers may have options.
        # shellcheck disable=SC2086
        ${launcher} --gpu "${gpu}" JOB=1:"${jobs}" "${dir}/logdir/ctc_decode.JOB.log" \
            "${program[0]}" -m espnet_stnas decode "${asr_exp}" --ngpu "${gpu}" \
            --model_file "${passed[inference_asr_model]:-valid.acc.ave.pth}" \
            --data_path_and_name_and_type "${scp},speech,${type}" \
            --key_file "${dir}/logdir/keys.JOB.scp" --lexicon "${lexicon[@]}" \
            --output "${dir}/logdir/output.JOB" "${extra[@]}" \
            || { cat "${dir}"/logdir/ctc_decode.*.log | grep -i error | sort -u >&2; return 1; }
        for file in text token token_int score; do
            for ((n = 1; n <= jobs; n++)); do
                cat "${dir}/logdir/output.${n}/1best_recog/${file}" || return 1
            done | sort -k 1 > "${dir}/${file}" || return 1
        done
    done
}

# Neither the token list nor trainings may get phones of two lexicons.
phones=
if [ "${units}" = phn ]; then
    phones="$(cat "${lexicon[@]}" | cksum) ${unk_phn}"
    for number in 5 10 11 12 13; do
        in_stages "${number}" || continue
        for name in "${units_dump}" "${token_lists}"; do
            [ ! -f "${name}/lexicon" ] || [ "$(cat "${name}/lexicon")" = "${phones}" ] \
                || die "${name} was made with another lexicon or --unk_phn; remove it" \
                    "with all that was made from it, or work in a copy of ${PWD}"
        done
    done
fi

for number in 1 2 3 4 5 6 7 8 9 10; do
    in_stages "${number}" || continue
    basis=("$(mark $((number - 1)))")
    case ${units}:${number} in
        phn:5)
            log "Stage 5: phones, in ${units_dump}"
            [ -f "${dump}/${train_set}/text" ] \
                || die "${dump}/${train_set}/text is missing; run stage 4"
            [ -f "${units_dump}/lexicon" ] && [ -f "${token_lists}/lexicon" ] \
                || rm -f "$(mark_of 5)"
            run_stage 5 "${basis[@]}" "${phones}" -- make_phones
            tee "${units_dump}/lexicon" > "${token_lists}/lexicon" <<< "${phones}"
            continue
            ;;
        phn:[6-9])
            log "Stage ${number}: nothing to do for phones"
            continue
            ;;
    esac
    case ${number} in
        [6-9]) basis+=("$(cksum < "${passed[lm_config]:-/dev/null}")") ;;
        10) basis=("$(mark 5)" "${features}") ;;
    esac
    run_stage "${number}" "${basis[@]}" -- \
        asr "${number}" --python "${python}" --asr_config "${train_config}"
    [ "${number}" -ne 10 ] || echo "${features}" > "${stats}/stnas_features"
done

if in_stages 11 || in_stages 13; then
    [ -f "${stats}/train/speech_shape" ] \
        || die "${stats} has no statistics; run stage 10 first"
    found=$(cat "${stats}/stnas_features" 2> /dev/null || echo "${features}")
    [ "${found}" = "${features}" ] \
        || die "${stats} has statistics of other features than ${train_config}:" \
            "${found}, and now ${features}; take another --expdir, or run stage 10 again"
fi

if in_stages 11; then
    if [ -z "${searches}" ]; then
        log "Stage 11: no search, since $([ -n "${arch}" ] && echo --arch \
            || echo --comparison) is given"
    else
        log "Stage 11: search, in ${search_exp}"
        run_stage 11 "$(mark 10)" "$(cksum < "${search_config}")" "${search_args}" -- \
            asr 11 --python "${python} --search" --asr_config "${search_config}" \
            --asr_exp "${search_exp}" --asr_args "${search_args}"
    fi
fi

if in_stages 12 && [ "${comparison}" = true ]; then
    log "Stage 12: the encoder of ${train_config}"
    mkdir -p "${derived}"
    cp "${train_config}" "${derived}/train.yaml"
elif in_stages 12; then
    log "Stage 12: an architecture, in ${derived}"
    mkdir -p "${derived}"
    source=(derive "${search_exp}" --epoch "${epoch}")
    [ -z "${arch}" ] || source=(derive "${arch}")
    if [ "${budget}" != none ]; then
        source=(select "${search_exp}")
        [ "${epoch}" = latest ] || source+=(--epoch "${epoch}")
        for limit in ${budget}; do
            source+=(--max "${limit}")
        done
        read -ra extra <<< "${select_args}"
        source+=("${extra[@]}")
    fi
    target=train
    if [ "${criterion}" = ctc_crf ]; then
        target=train_ctc
        rm -f "${derived}/train.yaml"
    fi
    "${program[0]}" -m espnet_stnas "${source[@]}" \
        --output "${derived}/architecture.yaml" \
        --train_config "${train_config}" --train_output "${derived}/${target}.yaml" \
        || [ $? -eq 3 ] || resume_hint 12   # 3: from an untrained supernet, as it says
    [ "${criterion}" = ctc ] || make_label_lm || resume_hint 12
    [ -n "${arch}" ] || "${program[0]}" -m espnet_stnas report "${search_exp}" \
        --arch "${derived}/architecture.yaml" --output "${derived}/report" \
        || resume_hint 12
fi

if in_stages 13 || in_stages 14 || in_stages 15 || in_stages 16; then
    [ -f "${derived}/train.yaml" ] || die "${derived}/train.yaml is missing; run stage 12"
    trained=(--python "${python}" --asr_config "${derived}/train.yaml"
        --asr_exp "${asr_exp}" --asr_args "${train_args}")
    [ "${units}" != phn ] || trained+=(--inference_tag "${inference_tag}")
fi
if in_stages 13; then
    log "Stage 13: retrain, in ${asr_exp}"
    # Resuming needs the same network; the derived YAML changes with every search.
    if [ -f "${asr_exp}/checkpoint.pth" ] \
        && ! cmp -s "${derived}/train.yaml" "${asr_exp}/stnas_train.yaml"; then
        die "${asr_exp} holds a training of another ${derived}/train.yaml; give this" \
            "one a name of its own with --tag, or remove ${asr_exp}"
    fi
    mkdir -p "${asr_exp}"
    cp "${derived}/train.yaml" "${asr_exp}/stnas_train.yaml"
    run_stage 13 "$(mark 10)" "$(cksum < "${derived}/train.yaml")" "${train_args}" -- \
        asr 11 "${trained[@]}"
fi
inference=${passed[inference_config]:-/dev/null}
if in_stages 14; then
    log "Stage 14: decode"
    if [ "${units}" = phn ]; then
        run_stage 14 "$(mark 13)" "${phones}" "$(cksum < "${word_lm:-/dev/null}")" \
            "${decode_args}" "${inference_tag}" -- decode_words
    else
        run_stage 14 "$(mark 13)" "$(mark 7)" "$(cksum < "${inference}")" -- \
            asr 12 "${trained[@]}"
    fi
fi
if in_stages 15; then
    log "Stage 15: score"
    run_stage 15 "$(mark 14)" -- asr 13 "${trained[@]}"
    reported=("${asr_exp}")
    [ -z "${searches}" ] || reported+=("${search_exp}" --output "${derived}/report"
        --arch "${derived}/architecture.yaml")
    "${program[0]}" -m espnet_stnas report "${reported[@]}" \
        || log "There is no report with these results, for the reason above." >&2
    log "Results: ${asr_exp}/RESULTS.md"
fi
if in_stages 16; then
    log "Stage 16: pack"
    run_stage 16 "$(mark 14)" -- asr 14 "${trained[@]}" --skip_packing false
fi
