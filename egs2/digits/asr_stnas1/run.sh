#!/usr/bin/env bash
# Connected digits: search, derive, retrain, decode and score, with pip packages alone.
set -euo pipefail

help_message=$(cat << 'USAGE'
Usage: ./run.sh [--<option> <value> ...]

Stages:
  1  corpus                     5  retrain the derived encoder
  2  token list, statistics     6  decode
  3  search                     7  score
  4  derive, report             8  baselines (with --baselines true)
A stage that was killed goes on where it stopped (training: at the last epoch) when
run.sh is called again with the same options. Times of interrupted parts count.

Options (default):
  --stage, --stop_stage       first and last stage (1, 8)
  --corpus                    tts: synthetic speech; fsdd: real recordings (tts)
  --variant                   clean, or hard: noise, overlaps, changes of speed (clean)
  --fsdd_dir                  local copy of the Free Spoken Digit Dataset (download it)
  --train_minutes, --dev_minutes, --test_minutes
                              size of the corpus (30, 3, 6)
  --seed                      seed of search and training; others than 0 get directories
                              of their own, with the same corpus (0)
  --data_seed                 seed of the corpus; likewise (0)
  --ngpu                      GPUs for search and training; 0 is the CPU (0)
  --decoder                   espnet: beam search over characters; lexicon: over the words
                              of the training text, spelled in characters (espnet)
  --nj                        decoding processes of espnet (2)
  --baselines                 true: train other encoders with the same budget: random,
                              hand and espnet, or some of these, with commas (false)
  --num_random                random architectures among the baselines (3)
  --budget                    the most that the architecture may cost, such as params=100k,
                              params=85% (of the largest) or macs=50M; random baselines
                              cost as much. none: the most probable of all, as in the
                              paper; this and budgets other than the default have files
                              of their own (params=85%)
  --space                     search space: tdnn, tdnn_wide, conformer, ebranchformer or
                              hybrid (tdnn)
  --search_config             (that of the space: conf/search.yaml or
                              conf/tuning/search_<space>.yaml)
  --train_config              (conf/retrain.yaml)
  --decode_config             (conf/decode.yaml)
  --criterion                 ctc, or ctc_crf: what the derived encoder is trained with
                              (ctc)
  --label_lm_args             more options for the label LM of CTC-CRF ("")
  --search_args, --train_args more options for the search and for each training ("")
  --data                      directory of the corpus (data_<corpus>_<variant>, with
                              _seed<N> for other data seeds than 0)
  --exp                       directory of the results (exp_<corpus>_<variant>, with
                              _<space> for other spaces than tdnn, _data<N> and _seed<N>
                              for other seeds than 0)
  --python                    Python interpreter (python3)
USAGE
)

stage=1
stop_stage=8
corpus=tts
variant=clean
fsdd_dir=
train_minutes=30
dev_minutes=3
test_minutes=6
seed=0
data_seed=0
ngpu=0
nj=2
baselines=false
num_random=3
budget=params=85%
space=tdnn
search_config=
train_config=
decoder=espnet
decode_config=conf/decode.yaml
criterion=ctc
label_lm_args=
search_args=
train_args=
data=
exp=
python=python3

log() {
    echo "$(date '+%Y-%m-%dT%H:%M:%S') $*"
}

die() {
    echo "run.sh: error: $*" >&2
    exit 1
}

options="stage stop_stage corpus variant fsdd_dir train_minutes dev_minutes \
test_minutes seed data_seed ngpu nj baselines num_random budget space search_config train_config \
decoder decode_config criterion label_lm_args search_args train_args data exp python"
while [ $# -gt 0 ]; do
    case "$1" in
        -h|--help)
            echo "${help_message}"
            exit 0
            ;;
        --*)
            name=${1#--}
            case " ${options} " in
                *" ${name} "*) ;;
                *) die "unknown option $1; accepted are: ${options}" ;;
            esac
            [ $# -gt 1 ] || die "option $1 needs a value"
            printf -v "${name}" '%s' "$2"
            shift 2
            ;;
        *)
            die "unexpected argument '$1'; options look like --stage 3"
            ;;
    esac
done

for name in stage stop_stage seed data_seed ngpu nj num_random; do
    [[ "${!name}" =~ ^[0-9]{1,9}$ ]] \
        || die "--${name} is '${!name}'; accepted is an integer from 0 to 999999999"
done
[ "${nj}" -gt 0 ] || die "--nj is 0; accepted is an integer of 1 or more"
case "${baselines}" in
    true) kinds=random,hand,espnet ;;
    false) kinds= ;;
    *) kinds=${baselines} ;;
esac
case "${budget}" in
    params=*|macs=*|none) ;;
    *)
        die "--budget is '${budget}'; accepted are params=... and macs=... with a number" \
            "or a share, such as params=85%, and none"
        ;;
esac
case "${decoder}" in
    espnet|lexicon) ;;
    *) die "--decoder is '${decoder}'; accepted are espnet, lexicon" ;;
esac
case "${criterion}" in
    ctc|ctc_crf) ;;
    *) die "--criterion is '${criterion}'; accepted are ctc, ctc_crf" ;;
esac
IFS=, read -ra kinds <<< "${kinds}"
for kind in "${kinds[@]}"; do
    case "${kind}" in
        random|hand|espnet) ;;
        *)
            die "--baselines is '${baselines}'; accepted is true, false, or some of" \
                "random,hand,espnet"
            ;;
    esac
done

# Found from where the user is, all else from the recipe's directory.
[ ! -d "${fsdd_dir}" ] || fsdd_dir=$(cd "${fsdd_dir}" && pwd)
cd "$(dirname "$0")"
# shellcheck source-path=SCRIPTDIR
. ./path.sh

suffix=
[ "${space}" = tdnn ] || suffix+=_${space}
[ "${data_seed}" = 0 ] || suffix+=_data${data_seed}
[ "${seed}" = 0 ] || suffix+=_seed${seed}
exp=${exp:-exp_${corpus}_${variant}${suffix}}
suffix=
[ "${data_seed}" = 0 ] || suffix=_seed${data_seed}
data=${data:-data_${corpus}_${variant}${suffix}}
if [ "${space}" = tdnn ]; then
    search_config=${search_config:-conf/search.yaml}
elif [ -e "conf/tuning/search_${space}.yaml" ]; then
    search_config=${search_config:-conf/tuning/search_${space}.yaml}
else
    die "--space is '${space}'; accepted are tdnn, tdnn_wide, conformer," \
        "ebranchformer, hybrid"
fi
train_config=${train_config:-conf/retrain.yaml}
stats=${exp}/stats
decoded=decode_test
[ "${decoder}" = espnet ] || decoded=decode_${decoder}
tokens=${exp}/tokens.txt
of_budget=
[ "${budget}" = params=85% ] || of_budget=_${budget//[!a-zA-Z0-9.]/}
architecture=${exp}/architecture${of_budget}.yaml
derived_yaml=${exp}/derived${of_budget}.yaml
derived=${derived_yaml%.yaml}
[ "${criterion}" = ctc ] || derived+=_${criterion}
baselines_dir=${exp}/baselines${of_budget}

# These hold lists of words.
read -ra python <<< "${python}"
read -ra search_args <<< "${search_args}"
read -ra train_args <<< "${train_args}"
read -ra label_lm_args <<< "${label_lm_args}"
run=("${python[@]}" -m espnet_stnas.run)

data_opts=(
    --token_type char --token_list "${tokens}" --ngpu "${ngpu}" --seed "${seed}"
    --train_data_path_and_name_and_type "${data}/train/wav.scp,speech,sound"
    --train_data_path_and_name_and_type "${data}/train/text,text,text"
    --valid_data_path_and_name_and_type "${data}/dev/wav.scp,speech,sound"
    --valid_data_path_and_name_and_type "${data}/dev/text,text,text"
)
shape_opts=(
    --train_shape_file "${stats}/train/speech_shape"
    --train_shape_file "${stats}/train/text_shape"
    --valid_shape_file "${stats}/valid/speech_shape"
    --valid_shape_file "${stats}/valid/text_shape"
    --resume true
)

# Wall time of a command that has ended or was killed goes to <log>_seconds, a line for
# each start. One that was killed lived as long as its log was written.
add_time() {
    local base=${1%.log} begin end
    [ -e "${base}.started" ] || return 0
    begin=$(cat "${base}.started")
    end=$(date -r "$1" +%s)
    [ "${end}" -lt "${begin}" ] || echo "$((end - begin))" >> "${base}_seconds"
    rm "${base}.started"
}

# Run a command with its output added to a log file. Show how far it is, and the end of
# the log if it fails.
logged() {
    local file=$1 failed=0
    shift
    mkdir -p "$(dirname "${file}")"
    log "-> ${file}"
    touch "${file}"
    add_time "${file}"
    date +%s > "${file%.log}.started"
    "$@" 2>&1 | tee -a "${file}" | "${python[@]}" local/watch.py "${watch[@]}" || failed=1
    touch "${file}"
    add_time "${file}"
    if [ "${failed}" = 1 ]; then
        tail -n 15 "${file}" >&2
        die "this failed: $*; all of its output is in ${file}"
    fi
}
watch=()

# The same for a training. Called again with other options, ESPnet goes on from its last
# checkpoint with them, or a search refuses those that would make it another one.
trained() {
    local dir=$1 config=$2 signature
    shift 2
    signature="$* $(cksum < "${config}")"
    if [ "$(cat "${dir}/.done" 2> /dev/null)" = "${signature}" ]; then
        log "${dir} is complete"
        return
    fi
    mkdir -p "${dir}"
    rm -rf "${dir}"/decode_* "${dir}/.done"
    logged "${dir}/train.log" "$@" --config "${config}" --output_dir "${dir}"
    echo "${signature}" > "${dir}/.done"
}

train() {
    trained "$1" "$2" "${run[@]}" -m espnet2.bin.asr_train \
        "${data_opts[@]}" "${shape_opts[@]}" "${train_args[@]}"
}

decode() {
    local dir=$1 out=$1/${decoded}
    if [ -e "${out}/.done" ]; then
        log "${out} is complete"
        return
    fi
    rm -rf "${out}"
    mkdir -p "${out}/log"
    if [ "${decoder}" = lexicon ]; then
        # Characters have a space behind each word but the last.
        cut -d " " -f 2- "${data}/train/text" | tr " " "\n" | LC_ALL=C sort -u \
            | awk '{word = $0; gsub(/./, " &"); print word $0; print word $0 " <space>"}' \
            > "${out}/lexicon.txt"
        logged "${out}.log" "${python[@]}" -m espnet_stnas decode "${dir}" \
            --model_file valid.loss.ave.pth --data_dir "${data}/test" \
            --lexicon "${out}/lexicon.txt" --output "${out}/found"
        cp "${out}/found/1best_recog/text" "${out}/text"
        touch "${out}/.done"
        return
    fi
    split -n "r/${nj}" -d -a 3 "${data}/test/wav.scp" "${out}/log/keys."
    watch=(--utterances "$(wc -l < "${data}/test/wav.scp")")
    # By xargs: what bash starts in the background does not hear Ctrl-C.
    printf '%s\n' "${out}"/log/keys.* > "${out}/log/parts"
    logged "${out}.log" xargs -a "${out}/log/parts" -P "${nj}" -I "{}" \
        "${run[@]}" -m espnet2.bin.asr_inference --config "${decode_config}" \
        --ngpu 0 --key_file "{}" \
        --data_path_and_name_and_type "${data}/test/wav.scp,speech,sound" \
        --asr_train_config "${dir}/config.yaml" \
        --asr_model_file "${dir}/valid.loss.ave.pth" --output_dir "{}.output"
    watch=()
    cat "${out}"/log/keys.*.output/1best_recog/text | LC_ALL=C sort > "${out}/text"
    touch "${out}/.done"
}

score() {
    "${python[@]}" -m espnet_stnas score "${data}/test/text" \
        "$1/${decoded}/text" --output "$1/${decoded}/score.yaml"
}

# A page about the search, and about encoders that were trained.
report() {
    "${python[@]}" -m espnet_stnas report "$@" \
        --arch "${architecture}" --output "${exp}/report${of_budget}"
}

wanted() {
    [[ " ${kinds[*]} " == *" $1 "* ]]
}

in_stages() {
    current="stage $1"
    [ "${stage}" -le "$1" ] && [ "${stop_stage}" -ge "$1" ]
}

# Ctrl-C, once what runs in the foreground has ended by it.
stopped() {
    echo >&2
    log "stopped in ${current}; the same command goes on where this one stopped" >&2
    exit 130
}
current="stage ${stage}"
trap stopped INT

if in_stages 1; then
    log "Stage 1: corpus '${corpus}', variant '${variant}', in ${data}"
    "${python[@]}" local/make_digits.py --corpus "${corpus}" \
        --variant "${variant}" --data "${data}" --data_seed "${data_seed}" \
        --fsdd_dir="${fsdd_dir}" --train_minutes "${train_minutes}" \
        --dev_minutes "${dev_minutes}" --test_minutes "${test_minutes}"
fi

if in_stages 2; then
    log "Stage 2: token list and statistics, in ${exp}"
    [ -e "${data}/train/text" ] || die "${data}/train is missing; run stage 1 first"
    signature=$(cat "${data}"/{train,dev}/{wav.scp,text} | cksum)
    if [ "$(cat "${stats}/.done" 2> /dev/null)" != "${signature}" ]; then
        rm -rf "${stats}"
        logged "${stats}/tokens.log" "${python[@]}" -m espnet2.bin.tokenize_text \
            --token_type char --input "${data}/train/text" --output "${tokens}" \
            --field 2- --write_vocabulary true --cleaner none --g2p none \
            --add_symbol "<blank>:0" --add_symbol "<unk>:1" \
            --add_symbol "<sos/eos>:-1"
        logged "${stats}/stats.log" "${python[@]}" -m espnet_stnas search \
            --config "${search_config}" "${data_opts[@]}" --collect_stats true \
            --train_shape_file "${data}/train/wav.scp" \
            --valid_shape_file "${data}/dev/wav.scp" --output_dir "${stats}"
        echo "${signature}" > "${stats}/.done"
    fi
fi

if in_stages 3; then
    log "Stage 3: search, in ${exp}/search"
    [ -e "${stats}/.done" ] || die "${stats} is not complete; run stage 2 first"
    trained "${exp}/search" "${search_config}" \
        "${python[@]}" -m espnet_stnas search \
        "${data_opts[@]}" "${shape_opts[@]}" "${search_args[@]}"
fi

if in_stages 4; then
    chosen=(derive "${exp}/search")
    if [ "${budget}" != none ]; then
        chosen=(select "${exp}/search" --max "${budget}")
        [ "${ngpu}" = 0 ] || chosen+=(--device cuda)
    fi
    log "Stage 4: ${chosen[0]} the architecture, report on the search"
    "${python[@]}" -m espnet_stnas "${chosen[@]}" --output "${architecture}" \
        --train_config "${train_config}" --train_output "${derived_yaml}" \
        || [ $? -eq 3 ]   # 3: from an untrained supernet, as it says
    report "${exp}/search"
fi

if in_stages 5; then
    log "Stage 5: train the derived encoder, in ${derived}"
    [ -e "${derived_yaml}" ] || die "${derived_yaml} is missing; run stage 4"
    if [ "${criterion}" = ctc_crf ]; then
        "${python[@]}" -m espnet_stnas label-lm "${data}/train/text" \
            --heldout "${data}/dev/text" --token_list "${tokens}" --token_type char \
            --output "${exp}/label_lm.arpa.gz" "${label_lm_args[@]}" \
            --train_config "${derived_yaml}" --train_output "${derived}.yaml"
    fi
    train "${derived}" "${derived}.yaml"
fi

if in_stages 6; then
    log "Stage 6: decode the test set, in ${derived}/${decoded}"
    decode "${derived}"
fi

if in_stages 7; then
    log "Stage 7: score"
    score "${derived}"
fi

if in_stages 8 && [ "${#kinds[@]}" -gt 0 ]; then
    log "Stage 8: baselines, in ${baselines_dir}"
    # What somebody would choose without a search.
    case "${space}" in
        conformer) by_hand=(--by_hand "all_K15=conformer-H4K15F96") ;;
        ebranchformer) by_hand=(--by_hand "all_K15=ebranchformer-H4K15G96F96") ;;
        hybrid) by_hand=(--by_hand "all_conformer=conformer-H4K15F128") ;;
        *)
            by_hand=(
                --by_hand "all_C1D1=tdnn-C1D1" --by_hand "all_C2D2=tdnn-C2D2"
                --by_hand "dilations_112222=tdnn-C2D1,tdnn-C2D1,tdnn-C2D2,tdnn-C2D2,tdnn-C2D2,tdnn-C2D2"
            )
            ;;
    esac
    by_hand+=(--largest)
    wanted hand || by_hand=()
    [ "${budget}" = none ] || by_hand+=(--max "${budget}")
    wanted random || num_random=0
    names=()
    if wanted hand || [ "${num_random}" -gt 0 ]; then
        mapfile -t names < <("${python[@]}" -m espnet_stnas baselines \
            "${search_config}" --train_config "${train_config}" \
            "${by_hand[@]}" --random "${num_random}" --seed "${seed}" \
            --output "${baselines_dir}")
        [ "${#names[@]}" -gt 0 ] || die "no baseline was made"
    fi
    if wanted espnet; then
        for name in conformer ebranchformer; do
            mkdir -p "${baselines_dir}/${name}"
            cp "conf/train_${name}.yaml" "${baselines_dir}/${name}/train.yaml"
            names+=("${name}")
        done
    fi
    for name in "${names[@]}"; do
        log "baseline ${name}"
        train "${baselines_dir}/${name}" "${baselines_dir}/${name}/train.yaml"
        decode "${baselines_dir}/${name}"
        score "${baselines_dir}/${name}"
    done
fi

if [ "${stop_stage}" -ge 7 ]; then
    current="the last stage"
    log "Report with error rates, and summary"
    scored=()
    measure=()
    for dir in "${derived}" "${baselines_dir}"/*; do
        [ ! -e "${dir}/${decoded}/score.yaml" ] || scored+=("${dir}")
    done
    # The table of encoders has their speed, which loads every model.
    [ "${#scored[@]}" -lt 2 ] || measure=(--data "${data}/test")
    report "${exp}/search" "${scored[@]}" "${measure[@]}"
    "${python[@]}" local/summary.py "${exp}" "${scored[@]}" --decoded "${decoded}" \
        --suffix="${of_budget}"
fi
